"""What the tests of the issuer side share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.issuer.configuration import HttpSettings
from tests.support.issuer import ScriptedIssuer
from tests.support.issuer_events import IssuerEvents
from tests.support.mint import SigningKey
from tests.support.pki import Pki, certificate_pem


@pytest.fixture
def issuer(signing_key: SigningKey) -> Iterator[ScriptedIssuer]:
    """A scripted issuer that publishes the key es256."""
    with ScriptedIssuer(keys=[signing_key]) as running:
        yield running


@pytest.fixture
def events() -> IssuerEvents:
    return IssuerEvents()


@pytest.fixture
def secure(pki: Pki) -> Iterator[ScriptedIssuer]:
    with ScriptedIssuer(certificate=pki.server, client_trust=[pki.client_authority.certificate]) as running:
        yield running


@pytest.fixture
def trusting(pki: Pki, tmp_path: Path) -> HttpSettings:
    """Trusts the authority of test servers, and nothing that is not https."""
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(certificate_pem(pki.server_authority.certificate))
    return HttpSettings(ca_file=bundle, timeout=20.0, connect_timeout=10.0)
