"""`x5t#S256`: the token is bound to a client certificate (RFC 8705 §3.1)."""

from hmac import compare_digest
from typing import Final

from sidecar.decision.failure import Denied
from sidecar.decision.reason import Reason
from sidecar.decision.request import Presenter
from sidecar.decision.strict import Malformed, base64url, base64url_text

MEMBER: Final = "x5t#S256"
_CHECK: Final = f"cnf.{MEMBER}"


class CertificateThumbprint:
    """SHA-256 of the DER encoding of the certificate that the client used in this connection's handshake."""

    member = MEMBER
    expected = "a SHA-256 digest in base64url"

    def parse(self, value: object) -> bytes:
        """32 bytes. RFC 8705 §3.1: the value "MUST omit all trailing pad '=' characters and MUST NOT include any
        line breaks, whitespace, or other additional characters".
        """
        if type(value) is not str:
            raise Malformed(type(value).__name__)
        digest = base64url(value)
        if len(digest) != 32:
            raise Malformed(f"{len(digest)} bytes")
        return digest

    def confirm(self, value: bytes, presenter: Presenter) -> str:
        """RFC 8705 §3: "The protected resource MUST obtain, from its TLS implementation layer, the client
        certificate used for mutual TLS and MUST verify that the certificate matches the certificate associated
        with the access token."
        """
        certificate = presenter.client_certificate
        if certificate is None:
            raise Denied(Reason.CERTIFICATE_MISSING, _CHECK, base64url_text(value), "no client certificate")
        if not compare_digest(value, certificate.thumbprint):
            raise Denied(Reason.BINDING_MISMATCH, _CHECK, base64url_text(value), certificate.thumbprint_text)
        return MEMBER
