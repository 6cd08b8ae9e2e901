"""The client certificate as the API gets it: in a header field that nobody else can set (RFC 9440 §2.4)."""

from typing import Final

from sidecar.decision.client_certificate import ClientCertificate
from sidecar.http.certificate_field import LONGEST, CertificateFormat, FieldCertificates, emit

_KEPT: Final = 1024
"""Certificates whose field is remembered."""


class CertificateHeader:
    """Makes the field line; what the client itself sent under the name is taken out with the identity headers."""

    __slots__ = ("_form", "_made", "name")

    def __init__(self, form: CertificateFormat, name: str) -> None:
        self.name = name.encode("ascii")
        self._form = form
        self._made: dict[bytes, bytes] = {}
        """By thumbprint: line, or nothing when it would be too long."""

    def line(self, certificate: ClientCertificate | None) -> bytes | None:
        """`name: value CRLF`; empty without a certificate; None for one that is too large for a field."""
        if certificate is None:
            return b""
        line = self._made.get(certificate.thumbprint)
        if line is None:
            if len(self._made) >= _KEPT:
                self._made.clear()
            value, _ = emit(self._form, FieldCertificates(certificate.der))
            line = b"%b: %b\r\n" % (self.name, value) if len(value) <= LONGEST else b""
            self._made[certificate.thumbprint] = line
        return line or None
