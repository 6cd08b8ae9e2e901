"""What the tests of requests to an authorization server share."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.pki import Pki
from tests.support.token_endpoint import TokenWorld


@pytest.fixture
def world(pki: Pki, tmp_path: Path) -> TokenWorld:
    """A sidecar in front of an authorization server, in memory."""
    return TokenWorld(pki, tmp_path)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Where a test opens what ends with it."""
    with ExitStack() as opened:
        yield opened
