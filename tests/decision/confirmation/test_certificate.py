import base64

import pytest

from sidecar.decision.confirmation.certificate import CertificateThumbprint
from sidecar.decision.failure import Failure
from sidecar.decision.presentation import Presentation
from sidecar.decision.reason import Reason
from tests.contracts.confirmation_method import ConfirmationMethodContract
from tests.support.pki import Pki
from tests.support.world import head, presentation

MISMATCH = Failure("cnf.x5t#S256", Reason.BINDING_MISMATCH)


class TestCertificateThumbprint(ConfirmationMethodContract):
    @pytest.fixture(autouse=True)
    def _world(self, pki: Pki) -> None:
        self.pki = pki

    def method(self) -> CertificateThumbprint:
        return CertificateThumbprint()

    def rightful(self) -> tuple[object, Presentation]:
        return self.pki.client.thumbprint, presentation(self.pki.client)

    def stranger(self) -> Presentation:
        return presentation(self.pki.other_client)

    def nobody(self) -> Presentation:
        return presentation(None)

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

    def test_evidence_ends_with_the_certificate_where_a_chain_is_asked_for(self) -> None:
        value, holder = self.rightful()
        method = self.method()
        digest = method.parse(value)
        strict = presentation(self.pki.client, certificate_must_be_valid=True)
        assert method.confirm(digest, holder).until == float("inf")
        assert method.confirm(digest, strict).until == strict.presenter.valid_until < float("inf")

    def test_mistake_is_named_from_the_value_alone(self) -> None:
        method, holder = self.method(), presentation(self.pki.client).presenter
        right = str(self.rightful()[0])
        found = method.diagnose(method.parse(right).hex(), MISMATCH, head(), holder, ())
        assert found is not None
        assert found.mistake == "hex"
        for value, presenter in ((right, holder), (None, holder), (right, presentation(None).presenter)):
            assert method.diagnose(value, MISMATCH, head(), presenter, ()) is None

    def test_it_may_be_one_member_of_several_whatever_the_scheme(self) -> None:
        assert self.method().is_accepted({"DPoP"})
        assert self.method().metadata({"DPoP"}, {"ES256"}) == {}

    def test_record_of_another_certificate_or_of_none_is_a_mismatch(self) -> None:
        method = self.method()
        digest = method.parse(self.rightful()[0])
        line = {
            "expected_thumbprint": self.rightful()[0],
            "presented_thumbprint": self.pki.other_client.thumbprint,
        }
        assert method.held(line, ()) is False
        assert not method.holds(digest, self.stranger().presenter, ())
        assert not method.holds(digest, self.nobody().presenter, ())
