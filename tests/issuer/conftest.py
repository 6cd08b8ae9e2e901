"""What the tests of the issuer side share."""

from collections.abc import Iterator

import pytest

from tests.support.issuer import ScriptedIssuer
from tests.support.issuer_events import IssuerEvents
from tests.support.mint import SigningKey


@pytest.fixture
def issuer(signing_key: SigningKey) -> Iterator[ScriptedIssuer]:
    """A scripted issuer that publishes the key es256."""
    with ScriptedIssuer(keys=[signing_key]) as running:
        yield running


@pytest.fixture
def events() -> IssuerEvents:
    return IssuerEvents()
