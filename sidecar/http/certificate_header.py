"""The client certificate as the API gets it: in header fields that nobody else can set (RFC 9440 §2.4)."""

from typing import Final

from sidecar.decision.request import Presenter
from sidecar.http.certificate_field import LONGEST, CertificateFormat, FieldCertificates, emit

_KEPT: Final = 1024
"""Certificates whose field is remembered."""
_KEPT_BYTES: Final = 8 << 20
"""Bytes of what is remembered: with a public rule whoever can connect chooses the certificates."""


class CertificateHeader:
    """Makes the field lines; what the client itself sent under the names is taken out with the identity headers."""

    __slots__ = ("_chain_name", "_form", "_made", "_name", "_size", "_tells_chain", "selects")

    def __init__(
        self, form: CertificateFormat, name: str, chain_name: str = "", *, tells_chain: bool = False
    ) -> None:
        """`chain_name` is the field of the chain, where the format has one of its own."""
        self._form = form
        self._chain_name = chain_name.encode("ascii")
        self._tells_chain = tells_chain
        names = [name, chain_name] if tells_chain and chain_name else [name]
        self.selects = ", ".join(names).encode("ascii")
        """Value of `Vary`: a response to a request with the fields is selected by them (RFC 9440 §2.4)."""
        self._made: dict[bytes, bytes] = {}
        """By what is told: lines, or nothing when they would be too long."""
        self._size = 0
        self._name = name.encode("ascii")

    def line(self, presenter: Presenter) -> bytes | None:
        """`name: value CRLF`; empty without a certificate; None for one that is too large for a field."""
        certificate = presenter.client_certificate
        if certificate is None:
            return b""
        key = certificate.thumbprint
        if self._tells_chain and presenter.chain:
            key += b"".join(presenter.chain)
        line = self._made.get(key)
        if line is None:
            line = self._lines(certificate.der, presenter.chain if self._tells_chain else ())
            self._size += len(key) + len(line)
            if len(self._made) >= _KEPT or self._size > _KEPT_BYTES:
                self._made.clear()
                self._size = len(key) + len(line)
            self._made[key] = line
        return line or None

    def _lines(self, der: bytes, chain: tuple[bytes, ...]) -> bytes:
        value, chain_value = emit(self._form, FieldCertificates(der, chain))
        if max(len(value), len(chain_value)) > LONGEST:
            return b""
        line = b"%b: %b\r\n" % (self._name, value)
        return line + b"%b: %b\r\n" % (self._chain_name, chain_value) if chain_value else line
