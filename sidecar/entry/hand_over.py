"""Sends a client's certificate to the authorization server, in header fields that nobody else can set."""

from typing import Final

from sidecar.decision.certificate import Certificate
from sidecar.http.certificate_field import LONGEST, CertificateFormat, FieldCertificates, emit
from sidecar.http.message import Field
from sidecar.proxy.authorization_server.configuration import HandOverSettings

_KEPT: Final = 1024
"""Certificates whose fields are remembered."""
_KEPT_BYTES: Final = 8 << 20
"""Bytes of them, and of the chains that they are remembered by."""
_CHAIN_NAME: Final = b"Client-Cert-Chain"
"""RFC 9440 §2.3."""


class HandOver:
    """Makes the field lines. What clients themselves send under the names is taken out of every request."""

    def __init__(self, settings: HandOverSettings, extra: tuple[Field, ...] = ()) -> None:
        """`extra` are fields that the server wants from a proxy that it trusts."""
        self._header = settings.header
        self._tells_chain = settings.chain
        verified = settings.verified
        self._verified = self._unverified = b""
        if verified is not None:
            self._verified = _line(verified.name.encode("ascii"), verified.yes.encode("ascii"))
            if verified.no is not None:
                self._unverified = _line(verified.name.encode("ascii"), verified.no.encode("ascii"))
        self._extra = b"".join(_line(name, value) for name, value in extra)
        self._made: dict[tuple[bytes, tuple[bytes, ...]], bytes | None] = {}
        self._size = 0

    @property
    def tells(self) -> bool:
        """Whether the server gets certificates at all."""
        return self._header is not None

    def lines(self, certificate: Certificate, chain: tuple[bytes, ...], *, is_verified: bool) -> bytes | None:
        """The field lines of a request of the client with this certificate; None for one that is too large for a
        field. `is_verified`: we authenticated the client by it.
        """
        if self._header is None:
            return self._extra
        told = chain if self._tells_chain else ()
        key = (certificate.thumbprint, told)
        if key not in self._made:
            made = self._told(certificate.der, told)
            self._size += len(made or b"") + sum(map(len, told))
            if len(self._made) >= _KEPT or self._size > _KEPT_BYTES:
                self._made.clear()
                self._size = len(made or b"") + sum(map(len, told))
            self._made[key] = made
        lines = self._made[key]
        if lines is None:
            return None
        return lines + (self._verified if is_verified else self._unverified) + self._extra

    def without(self) -> bytes:
        """The field lines of a request without a certificate for the server."""
        return self._unverified

    def _told(self, der: bytes, chain: tuple[bytes, ...]) -> bytes | None:
        assert self._header is not None  # noqa: S101 — `lines` asks only then
        value, chain_value = emit(self._header.format, FieldCertificates(der, chain))
        if max(len(value), len(chain_value)) > LONGEST:
            return None
        lines = _line(self._header.name.encode("ascii"), value)
        if chain_value and self._header.format is CertificateFormat.RFC9440:
            lines += _line(_CHAIN_NAME, chain_value)
        return lines


def _line(name: bytes, value: bytes) -> bytes:
    return b"%b: %b\r\n" % (name, value)
