"""Whether the fields of a message are what HTTP/2 allows (RFC 9113 §8). Pure.

Only what concerns every message is checked here, so that its stream can be reset (RFC 9113 §8.1.1). A request is then
read by `sidecar/http/http2_request.py`, which relies on none of this.

Theory of operation. A peer sends most fields of a head again in the next one, and the decoder hands out the same object
for them. A field that is the object at the same place of the head before is known to be valid. (A `Row` is a tuple of
any length: compiled, a pair would be taken apart and made anew, and be no object that came before.)
"""

from typing import Final, cast

from sidecar.http.http2_field import (
    CONNECTION_SPECIFIC,
    LENGTH,
    METHOD,
    PATH,
    PLAIN,
    SCHEME,
    TE,
    UNKNOWN_PSEUDO,
    MalformedField,
    kind_of,
)
from sidecar.http.http2_field import PRIORITY as PRIORITY_FIELD
from sidecar.http.message import Field
from sidecar.proxy.http2.hpack_tables import Row
from sidecar.proxy.http2.streams import NORMAL

_NEEDED: Final = 1 << -METHOD | 1 << -SCHEME | 1 << -PATH
_STATUS: Final = b":status"
_STATUS_BIT: Final = 1 << -UNKNOWN_PSEUDO
_DIGITS_MOST: Final = 18
_PRIORITY_MOST: Final = 64
"""Bytes of a Priority field that is read: a longer one, of many parts, would cost as much as many requests."""
_NO_HEAD: Final[tuple[Field, ...]] = ((b"", b""),)
"""In place of a head: equal to none. A block without fields is the same object as any empty tuple."""
_STATUSES: Final = {b"%d" % status: status for status in range(100, 1000) if status != 101}
"""RFC 9113 §8.6: 101 has no meaning in HTTP/2."""


class Messages:
    """Checks the heads and trailers that one peer sends."""

    __slots__ = ("_kinds", "_last", "_method", "_trailers", "length", "urgency")

    def __init__(self) -> None:
        self._last = _NO_HEAD
        """The fields of the last head that was valid."""
        self._kinds: list[int] = []
        """Their kinds; there may be more of them."""
        self._trailers: tuple[Field, ...] = ()
        """The last trailers that were valid."""
        self._method = b""
        """The method of the last head; empty for a response."""
        self.length = -1
        """Content-Length of the last head; negative: it has none."""
        self.urgency = NORMAL
        """What Priority says in the last head (RFC 9218 §4.1)."""

    def rest(self) -> None:
        """The connection is idle: keep nothing of its last request."""
        self._last, self._trailers = _NO_HEAD, ()
        self._kinds = []

    def request(self, fields: tuple[Field, ...]) -> None:
        """Check the head of a request. Raises `MalformedField`."""
        if fields is not self._last:
            last = self._last
            self._last = _NO_HEAD
            seen = self._read(cast("tuple[Row, ...]", fields), cast("tuple[Row, ...]", last))
            if seen & _STATUS_BIT or (seen & _NEEDED != _NEEDED and self._method != b"CONNECT"):
                raise MalformedField("not exactly :method, :scheme, :path and at most :authority")
            self._last = fields

    def response(self, fields: tuple[Field, ...]) -> int:
        """Check the head of a response; returns its status. Raises `MalformedField`."""
        if not fields or fields[0][0] != _STATUS:
            raise MalformedField("a response without :status")
        status = _STATUSES.get(fields[0][1])
        if status is None:
            raise MalformedField("a status that is none")
        if fields is not self._last:
            last = self._last
            self._last = _NO_HEAD
            if self._read(cast("tuple[Row, ...]", fields), cast("tuple[Row, ...]", last)) != _STATUS_BIT:
                raise MalformedField("pseudo-header fields of a request in a response")
            self._last = fields
        return status

    def _read(self, fields: tuple[Row, ...], last: tuple[Row, ...]) -> int:
        """Check each field; returns a bit for each kind of pseudo-header field."""
        kinds, seen, known, at = self._kinds, 0, len(last), 0
        is_regular = False
        self.length, self.urgency, self._method = -1, NORMAL, b""
        for row in fields:
            if at < known and row is last[at]:
                kind = kinds[at]
            else:
                kind = kind_of(row[0], row[1])
                if at < len(kinds):
                    kinds[at] = kind
                else:
                    kinds.append(kind)
            at += 1
            if kind >= PLAIN:
                is_regular = True
                if kind > PLAIN:
                    self._heed(kind, row[1])
                continue
            bit = 1 << -kind
            if is_regular or seen & bit:
                raise MalformedField("pseudo-header fields twice, or behind other fields")
            if kind == UNKNOWN_PSEUDO and row[0] != _STATUS:
                raise MalformedField("an unknown pseudo-header field")
            if kind == PATH and not row[1]:
                raise MalformedField("an empty :path")
            if kind == METHOD:
                self._method = row[1]
            seen |= bit
        return seen

    def _heed(self, kind: int, value: bytes) -> None:
        if kind == LENGTH:
            if self.length >= 0 or not value.isdigit() or len(value) > _DIGITS_MOST:
                raise MalformedField("Content-Length")
            self.length = int(value)
        elif kind == CONNECTION_SPECIFIC or (kind == TE and value.lower() != b"trailers"):
            raise MalformedField("a field that only HTTP/1.1 knows")
        elif kind == PRIORITY_FIELD:
            self.urgency = urgency_of(value)

    def trailers(self, fields: tuple[Field, ...]) -> None:
        """Check trailer fields. Raises `MalformedField`."""
        if fields is not self._trailers:
            self._trailers = ()
            for name, value in fields:
                kind = kind_of(name, value)
                if kind < PLAIN or kind == CONNECTION_SPECIFIC or (kind == TE and value != b"trailers"):
                    raise MalformedField(
                        "pseudo-header fields, or those that only HTTP/1.1 knows, in trailers"
                    )
            self._trailers = fields


def urgency_of(value: bytes) -> int:
    """The urgency in a Priority field (RFC 9218 §4.1); what cannot be read is ignored."""
    if len(value) > _PRIORITY_MOST:
        return NORMAL
    for part in value.split(b","):
        name, _, said = part.strip().partition(b"=")
        if name == b"u" and len(said) == 1 and b"0" <= said <= b"7":
            return int(said)
    return NORMAL
