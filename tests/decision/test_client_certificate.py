from sidecar.decision.client_certificate import ClientCertificate
from tests.support.pki import Pki


def test_the_certificate_whose_key_was_proved_has_a_type_of_its_own(pki: Pki) -> None:
    certificate = pki.client.presented
    assert isinstance(certificate, ClientCertificate)
    assert repr(certificate) == f"ClientCertificate({certificate.thumbprint.hex()[:16]}…)"
