"""Conversations that end with the test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.conversation import Conversation

Converse = Callable[..., Conversation]


@pytest.fixture
def converse() -> Iterator[Converse]:
    """Begins conversations under settings of the test's own."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Conversation(**settings))


@pytest.fixture
def talk(converse: Converse) -> Conversation:
    """A conversation under the default settings."""
    return converse()
