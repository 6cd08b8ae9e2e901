import base64

import pytest

from sidecar.decision.confirmation.certificate import CertificateThumbprint
from sidecar.decision.request import Presenter
from tests.contracts.confirmation_method import ConfirmationMethodContract
from tests.support.pki import Pki
from tests.support.world import presenter


class TestCertificateThumbprint(ConfirmationMethodContract):
    @pytest.fixture(autouse=True)
    def _world(self, pki: Pki) -> None:
        self.pki = pki

    def method(self) -> CertificateThumbprint:
        return CertificateThumbprint()

    def rightful(self) -> tuple[object, Presenter]:
        return self.pki.client.thumbprint, presenter(self.pki.client)

    def stranger(self) -> Presenter:
        return presenter(self.pki.other_client)

    def nobody(self) -> Presenter:
        return presenter(None)

    def malformed(self) -> list[object]:
        right = self.pki.client.thumbprint
        digest = base64.urlsafe_b64decode(right + "=")
        return [
            "", "text", right + "=", f" {right}", f"{right}\n", right[:-1], right + "A", right[:-1] + "B" * 2,
            digest.hex(), base64.b64encode(digest).decode(), base64.urlsafe_b64encode(digest[:20]).decode(),
            base64.urlsafe_b64encode(digest + b"x").decode().rstrip("="), right[:-1] + chr(ord(right[-1]) + 1),
        ]  # fmt: skip

    def test_thumbprint_with_another_case_is_another_thumbprint(self) -> None:
        right = self.pki.client.thumbprint
        digest = self.method().parse(right)
        assert self.method().parse(right[:-1].swapcase() + right[-1]) != digest
