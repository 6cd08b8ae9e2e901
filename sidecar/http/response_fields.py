"""Response header fields on their way to the client: which are removed, and what is known of the others. Pure."""

import re
from collections.abc import Callable, Container
from typing import Final

from sidecar.http.message import Field, MalformedResponse

# Treatment of a header field; plain integers for the reason given in `fields`.
_KEEP: Final = 0
CONTENT_LENGTH: Final = 1
_DATE: Final = 2
_TRANSFER_ENCODING: Final = 3
_UPGRADE: Final = 4
_CONNECTION: Final = 5
_HOP_BY_HOP: Final = 6
_KEEP_ALIVE: Final = 7
_LOCATION: Final = 8

_RESPONSE_KINDS: Final = {
    b"content-length": CONTENT_LENGTH,
    b"date": _DATE,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"upgrade": _UPGRADE,
    b"connection": _CONNECTION,
    b"keep-alive": _KEEP_ALIVE,
    b"location": _LOCATION,
    b"content-location": _LOCATION,
    b"proxy-connection": _HOP_BY_HOP,
    b"proxy-authenticate": _HOP_BY_HOP,
    b"dpop-nonce": _HOP_BY_HOP,  # RFC 9449 §8.2: only the sidecar sends it, for the API never sees a proof
}
"""Any other field is forwarded unchanged."""
_TIMEOUT: Final = re.compile(rb"(?:\A|[\s,;])timeout\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
"""The parameter of Keep-Alive, which no RFC has defined since RFC 2068 §19.7.1.1; servers send `timeout=5, max=100`."""
_CACHED_NAMES: Final = 2048
_LONGEST_CACHED: Final = 128
"""Maximum bytes of a cached name. Longer names are not in real use, and must not fill the memory."""


class ResponseFields:
    """The classified header fields of a response."""

    __slots__ = ("chunked", "has_date", "has_length", "is_located", "kept", "stays_open", "upgrade")

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.has_length = False
        """There is a Content-Length; the parser has checked that it is one number."""
        self.chunked = False
        self.upgrade = b""
        self.has_date = False
        self.is_located = False
        """There is a Location or a Content-Location (RFC 9110 §10.2.2, §8.7)."""
        self.stays_open = -1.0
        """Seconds for which the API keeps the idle connection open; negative if it does not say."""

    def note(self, kind: int, name: bytes, value: bytes) -> None:
        """Handle a field of a rare kind."""
        if kind == _UPGRADE:
            self.upgrade = value
        elif kind == _LOCATION:
            self.is_located = True
            self.kept += (name, b": ", value, b"\r\n")
        elif kind == _KEEP_ALIVE:
            found = _TIMEOUT.search(value)
            if found is not None:
                self.stays_open = float(found[1])

    def give_nonce(self, nonce: str) -> None:
        """Set the nonce for the client's next DPoP proof; the API's own field was removed.

        RFC 9449 §8.2: a response with a nonce should not be cacheable; otherwise the nonce would be used after its
        end.
        """
        self.kept += (b"DPoP-Nonce", b": ", nonce.encode("ascii"), b"\r\n")
        self.kept += (b"Cache-Control", b": ", b"no-store", b"\r\n")

    def rewrite(self, locations: Callable[[bytes], bytes]) -> None:
        """Replace each Location and Content-Location by the result of `locations`."""
        pieces = self.kept
        for start in range(0, len(pieces), 4):
            if pieces[start].lower() in (b"location", b"content-location"):
                pieces[start + 2] = locations(pieces[start + 2])

    def drop(self, names: Container[bytes]) -> None:
        """Remove the fields of these names, which are in lower case."""
        pieces = self.kept
        self.kept = []
        for start in range(0, len(pieces), 4):
            if pieces[start].lower() not in names:
                self.kept += pieces[start : start + 4]


def sort_response(fields: list[Field], seen: dict[bytes, int], nonce: str | None = None) -> ResponseFields:
    """Classify a response's fields. `seen` caches the treatment of names, in bounded number. `nonce` is sent to the
    client.

    Raises `MalformedResponse`.
    """
    result = ResponseFields()
    kept = result.kept
    named: set[bytes] | None = None
    for name, value in fields:
        kind = seen.get(name, -1)
        if kind < 0:
            kind = _RESPONSE_KINDS.get(name.lower(), _KEEP)
            if len(seen) < _CACHED_NAMES and len(name) <= _LONGEST_CACHED:
                seen[name] = kind
        if kind == _KEEP:
            kept += (name, b": ", value, b"\r\n")
        elif kind == CONTENT_LENGTH:
            result.has_length = True
            kept += (name, b": ", value, b"\r\n")
        elif kind == _DATE:
            result.has_date = True
            kept += (name, b": ", value, b"\r\n")
        elif kind == _TRANSFER_ENCODING:
            # RFC 9112 §6.1: the sidecar requested no coding but chunked with TE, and cannot decode any other.
            if value.strip(b" \t").lower() != b"chunked" or result.chunked:
                raise MalformedResponse("Transfer-Encoding other than one `chunked`")
            result.chunked = True
        elif kind == _CONNECTION and value.lower() not in (b"keep-alive", b"close", b"upgrade"):
            named = (named or set()) | {option.strip(b" \t").lower() for option in value.split(b",")}
        else:
            result.note(kind, name, value)
    if named:
        _drop_named(result, named)
    if nonce is not None:
        result.give_nonce(nonce)
    return result


def _drop_named(result: ResponseFields, named: set[bytes]) -> None:
    named -= {b"content-length", b"close", b"keep-alive", b"upgrade"}
    result.drop(named)
