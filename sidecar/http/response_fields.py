"""A response's header fields on their way through: what is removed, what is known of what goes on. Pure."""

from collections.abc import Container
from typing import Final

from sidecar.http.message import Field, MalformedResponse

# What happens to a header field; plain numbers for the reason that `fields` gives.
_KEEP: Final = 0
CONTENT_LENGTH: Final = 1
_DATE: Final = 2
_TRANSFER_ENCODING: Final = 3
_UPGRADE: Final = 4
_CONNECTION: Final = 5
_HOP_BY_HOP: Final = 6

_RESPONSE_KINDS: Final = {
    b"content-length": CONTENT_LENGTH,
    b"date": _DATE,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"upgrade": _UPGRADE,
    b"connection": _CONNECTION,
    b"keep-alive": _HOP_BY_HOP,
    b"proxy-connection": _HOP_BY_HOP,
    b"proxy-authenticate": _HOP_BY_HOP,
}
"""Any other field goes on as it is."""
_CACHED_NAMES: Final = 2048
_LONGEST_CACHED: Final = 128
"""Bytes of a name that is remembered. Longer ones are in nobody's use, and must not fill the memory."""


class ResponseFields:
    """A response's header fields, sorted out."""

    __slots__ = ("chunked", "content_length", "has_date", "kept", "upgrade")

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.content_length: int | None = None
        self.chunked = False
        self.upgrade = b""
        self.has_date = False

    def drop(self, names: Container[bytes]) -> None:
        """Take out the fields of these names, which are lower case."""
        pieces = self.kept
        self.kept = []
        for start in range(0, len(pieces), 4):
            if pieces[start].lower() not in names:
                self.kept += pieces[start : start + 4]


def sort_response(fields: list[Field], seen: dict[bytes, int]) -> ResponseFields:
    """Sort a response's fields; `seen` remembers what names are, in bounded number.

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
            result.content_length = int(value)
            kept += (name, b": ", value, b"\r\n")
        elif kind == _DATE:
            result.has_date = True
            kept += (name, b": ", value, b"\r\n")
        elif kind == _TRANSFER_ENCODING:
            # RFC 9112 §6.1: no coding but chunked was asked for with TE, and nobody here could take it off.
            if value.strip(b" \t").lower() != b"chunked" or result.chunked:
                raise MalformedResponse("Transfer-Encoding other than one `chunked`")
            result.chunked = True
        elif kind == _UPGRADE:
            result.upgrade = value
        elif kind == _CONNECTION and value.lower() not in (b"keep-alive", b"close", b"upgrade"):
            named = (named or set()) | {option.strip(b" \t").lower() for option in value.split(b",")}
    if named:
        _drop_named(result, named)
    return result


def _drop_named(result: ResponseFields, named: set[bytes]) -> None:
    named -= {b"content-length", b"close", b"keep-alive", b"upgrade"}
    result.drop(named)
