"""`x5t#S256`: the token is bound to a client certificate (RFC 8705 §3.1)."""

from collections.abc import Collection, Mapping, Sequence
from hmac import compare_digest
from typing import Final

from sidecar.decision.certificate import Certificate
from sidecar.decision.confirmation.method import ConfirmationMethod, Confirmed
from sidecar.decision.diagnosis import Diagnosis, diagnose_thumbprint
from sidecar.decision.failure import Denied, Failure
from sidecar.decision.presentation import Presentation
from sidecar.decision.reason import Reason
from sidecar.decision.request import Presenter, RequestHead
from sidecar.decision.strict import Malformed, base64url, base64url_text

MEMBER: Final = "x5t#S256"
_CHECK: Final = f"cnf.{MEMBER}"
_EXPECTED: Final = "expected_thumbprint"
_PRESENTED: Final = "presented_thumbprint"


class CertificateThumbprint(ConfirmationMethod):
    """SHA-256 of the DER encoding of the certificate that the client used in this connection's handshake."""

    def __init__(self) -> None:
        self.member = MEMBER
        self.expected = "a SHA-256 digest in base64url"
        self.scheme = "Bearer"
        self.clause = "RFC 8705 §3"
        self.reasons = {
            Reason.BINDING_MISMATCH: "The access token is bound to another client certificate",
            Reason.CERTIFICATE_MISSING: "The access token is bound to a client certificate and none was presented",
            Reason.CERTIFICATE_EXPIRED: "The client certificate expired",
        }
        self.broken = frozenset()
        self.checks = ()

    def is_accepted(self, schemes: Collection[str]) -> bool:
        """Whatever the scheme: each member of `cnf` must confirm."""
        return True

    def parse(self, value: object) -> bytes:
        """32 bytes. RFC 8705 §3.1: the value "MUST omit all trailing pad '=' characters and MUST NOT include any
        line breaks, whitespace, or other additional characters".
        """
        return sha256_digest(value)

    def confirm(self, value: bytes, presentation: Presentation) -> Confirmed:
        """RFC 8705 §3: "The protected resource MUST obtain, from its TLS implementation layer, the client
        certificate used for mutual TLS and MUST verify that the certificate matches the certificate associated
        with the access token."
        """
        presenter = presentation.presenter
        certificate = presenter.client_certificate
        if certificate is None:
            raise Denied(Reason.CERTIFICATE_MISSING, _CHECK, base64url_text(value), "no client certificate")
        if not compare_digest(value, certificate.thumbprint):
            raise Denied(Reason.BINDING_MISMATCH, _CHECK, base64url_text(value), certificate.thumbprint_text)
        return Confirmed(MEMBER, presenter.valid_until)

    def metadata(self, schemes: Collection[str], algorithms: Collection[str]) -> Mapping[str, object]:
        """RFC 8705 §3.3: a bound token is verified whatever the policy asks for."""
        return {"tls_client_certificate_bound_access_tokens": True} if self.scheme in schemes else {}

    def record(self, value: bytes | None) -> str:
        """The thumbprint that the token names; empty when it names none."""
        return f'"{_EXPECTED}":"{base64url_text(value) if value else ""}",'

    def holds(self, value: bytes, presenter: Presenter, failures: Sequence[Failure]) -> bool:
        """Whether it is the thumbprint of the connection's certificate, whatever else failed."""
        certificate = presenter.client_certificate
        return certificate is not None and value == certificate.thumbprint

    def held(self, line: Mapping[str, object], failed: Collection[str]) -> bool | None:
        """Whether the line names the same thumbprint twice."""
        expected = line.get(_EXPECTED)
        return expected == line.get(_PRESENTED) if isinstance(expected, str) and expected else None

    def diagnose(
        self,
        value: object,
        failure: Failure,
        head: RequestHead,
        presenter: Presenter,
        others: Sequence[Certificate],
    ) -> Diagnosis | None:
        """What was hashed, or how the digest was written, in place of what RFC 8705 §3.1 says."""
        certificate = presenter.client_certificate
        if certificate is None or not isinstance(value, str):
            return None
        found = diagnose_thumbprint(value, certificate, others)
        return None if found.mistake == "none" else found


def sha256_digest(value: object) -> bytes:
    """The 32 bytes of a SHA-256 digest in base64url without padding; raises `Malformed`."""
    if type(value) is not str:
        raise Malformed(type(value).__name__)
    digest = base64url(value)
    if len(digest) != 32:
        raise Malformed(f"{len(digest)} bytes")
    return digest
