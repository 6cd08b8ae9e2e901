"""Fields that go out: the lines of HTTP/1.1, and what HTTP/2 says instead of them. Pure."""

from collections.abc import Iterable
from typing import Final

from sidecar.http.message import Field


class FieldBlock:
    """Fields that the sidecar sets; what is made of their lines for HTTP/2 stays with them."""

    __slots__ = ("lines", "pairs")

    def __init__(self, lines: bytes) -> None:
        self.lines = lines
        """`name: value CRLF` each."""
        self.pairs: list[Field] | None = None
        """The same for HTTP/2; None: nobody has needed it so far. It is never changed."""


NO_FIELDS: Final = FieldBlock(b"")
NO_TRAILERS: Final[list[Field]] = []
"""The shared empty list, because most messages have no trailers. It is never appended to."""


def field_lines(fields: Iterable[Field]) -> bytes:
    """The lines of HTTP/1.1."""
    return b"".join([b"%b: %b\r\n" % (name, value) for name, value in fields])


def bare_value(value: bytes) -> bytes:
    """The value without surrounding whitespace (RFC 9110 §5.5)."""
    if value and (value[0] <= 0x20 or value[-1] <= 0x20):
        return value.strip(b" \t")
    return value
