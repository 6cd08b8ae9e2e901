import pytest

from sidecar.decision.facts import Facts
from sidecar.decision.request import ClientCertificate, Presenter
from tests.support.pki import Pki
from tests.support.records import token
from tests.support.world import head


@pytest.mark.parametrize("presents", [True, False])
def test_certificate_is_the_one_of_whoever_presents_the_token(presents: bool, pki: Pki) -> None:
    certificate: ClientCertificate | None = pki.client.presented if presents else None
    facts = Facts(head(), token(), Presenter(certificate, "main", "192.0.2.1:1"), {}, 0)
    assert facts.client_certificate is certificate
    assert not facts.reveals
