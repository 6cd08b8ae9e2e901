"""Via, Forwarded and X-Forwarded-*: the origin of a request, for the upstream (RFC 7239).

Only listed peers are trusted. The fields of any other client are removed and replaced by values from the connection's
socket.
"""

import re
from typing import Final

from sidecar.http.fields import NOTHING, RequestFields
from sidecar.http.lines import NO_FIELDS, FieldBlock, field_lines
from sidecar.http.message import Field

_PSEUDONYM: Final = b"sidecar"
_AUTHORITY: Final = re.compile(rb"[A-Za-z0-9._~\[\]:-]+\Z")
_CHAINED: Final = (b"x-forwarded-for", b"forwarded", b"via")


class Forwarding:
    """Makes the field block for the requests of one connection; caches the last block, as Host seldom changes."""

    __slots__ = ("_believed", "_block", "_client", "_host", "_node", "_via")

    def __init__(self, client: str, *, believed: bool = False, received: bytes = b"1.1") -> None:
        """`client` is the peer's IP address; `believed` whether its forwarded fields are used; `received` its HTTP
        version.
        """
        self._client = client.encode("ascii", "replace")
        # RFC 7239 §6: an IPv6 address is written in brackets and quotes.
        self._node = b'"[%b]"' % self._client if b":" in self._client else self._client
        self._believed = believed
        self._via = received + b" " + _PSEUDONYM
        self._host: bytes | None = None
        self._block = NO_FIELDS

    def block(self, fields: RequestFields) -> FieldBlock:
        """The fields.

        They include claims of identity from a trusted peer, which are then removed from `fields`.
        """
        if fields.claims and self._believed:
            claims, fields.claims = fields.claims, NOTHING
            return FieldBlock(field_lines(claims) + self.block(fields).lines)
        host = fields.hosts[0] if fields.hosts else b""
        if fields.forwarded and (
            self._believed or any(name.lower() == b"via" for name, _ in fields.forwarded)
        ):
            return self._chained(fields.forwarded, host)
        if host != self._host:
            self._block, self._host = self._render(host, {}), host
        return self._block

    def origin(self, fields: RequestFields) -> bytes:
        """Scheme and authority of the request; empty if it named no host."""
        scheme, host = b"https", fields.hosts[0] if fields.hosts else b""
        for name, value in fields.forwarded if self._believed else ():
            lower = name.lower()
            if lower == b"x-forwarded-proto" and value in (b"http", b"https"):
                scheme = value
            elif lower == b"x-forwarded-host" and _AUTHORITY.match(value):
                host = value
        return b"%b://%b" % (scheme, host) if host else b""

    def _chained(self, told: list[Field], host: bytes) -> FieldBlock:
        before: dict[bytes, bytes] = {}
        for name, value in told:
            lower = name.lower()
            if self._believed or lower == b"via":
                before[lower] = before[lower] + b", " + value if lower in before else value
        return self._render(host, before)

    def _render(self, host: bytes, before: dict[bytes, bytes]) -> FieldBlock:
        quoted = b'"%b"' % host if host else b'""'
        mine = {
            b"x-forwarded-for": self._client,
            b"forwarded": b"for=%b;host=%b;proto=https" % (self._node, quoted),
            b"via": self._via,
        }
        for name in _CHAINED:
            if before.get(name):
                mine[name] = before[name] + b", " + mine[name]
        return FieldBlock(
            b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nForwarded: %b\r\nVia: %b\r\n"
            % (
                mine[b"x-forwarded-for"],
                before.get(b"x-forwarded-proto", b"https"),
                before.get(b"x-forwarded-host", host),
                mine[b"forwarded"],
                mine[b"via"],
            )
        )
