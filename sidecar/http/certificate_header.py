"""The client certificate for the API, in header fields that no client can set (RFC 9440 §2.4)."""

from typing import Final

from sidecar.decision.request import Presenter
from sidecar.http.certificate_field import LONGEST, CertificateFormat, FieldCertificates, emit
from sidecar.http.lines import NO_FIELDS, FieldBlock

_KEPT: Final = 1024
"""Maximum number of certificates whose field is cached."""
_KEPT_BYTES: Final = 8 << 20
"""Maximum bytes of the cache: with a public rule, anybody who can connect chooses the certificates."""


class CertificateHeader:
    """Makes the field lines; fields of the same names from the client are removed with the identity headers."""

    __slots__ = ("_chain_name", "_form", "_made", "_name", "_size", "_tells_chain", "selects")

    def __init__(
        self, form: CertificateFormat, name: str, chain_name: str = "", *, tells_chain: bool = False
    ) -> None:
        """`chain_name` is the field of the chain, if the format has one."""
        self._form = form
        self._chain_name = chain_name.encode("ascii")
        self._tells_chain = tells_chain
        names = [name, chain_name] if tells_chain and chain_name else [name]
        self.selects = ", ".join(names).encode("ascii")
        """Value of `Vary`: the response to a request with these fields depends on them (RFC 9440 §2.4)."""
        self._made: dict[bytes, FieldBlock] = {}
        """Field lines by certificates; empty if they would be too long."""
        self._size = 0
        self._name = name.encode("ascii")

    def block(self, presenter: Presenter) -> FieldBlock | None:
        """Its fields; none without a certificate; None if the certificate is too large for a field."""
        certificate = presenter.client_certificate
        if certificate is None:
            return NO_FIELDS
        key = certificate.thumbprint
        if self._tells_chain and presenter.chain:
            key += b"".join(presenter.chain)
        block = self._made.get(key)
        if block is None:
            block = FieldBlock(self._lines(certificate.der, presenter.chain if self._tells_chain else ()))
            size = len(key) + 2 * len(block.lines)  # twice, if HTTP/2 needs them
            self._size += size
            if len(self._made) >= _KEPT or self._size > _KEPT_BYTES:
                self._made.clear()
                self._size = size
            self._made[key] = block
        return block if block.lines else None

    def _lines(self, der: bytes, chain: tuple[bytes, ...]) -> bytes:
        value, chain_value = emit(self._form, FieldCertificates(der, chain))
        if max(len(value), len(chain_value)) > LONGEST:
            return b""
        line = b"%b: %b\r\n" % (self._name, value)
        return line + b"%b: %b\r\n" % (self._chain_name, chain_value) if chain_value else line
