"""How the name of a field is encoded (RFC 7541 §6.2), and whether its values may enter a table.

Theory of operation. What is known of names is shared by all connections, for names are no secrets; but requests and
responses are apart, so that no client has a say in how the responses to others are encoded. A name that a peer sends
never-indexed is marked: a field of that name is sent so, whoever forwards it (§6.2.3). A mark lasts for a number of
blocks after the name came last: much longer than a field is on its way, and not for ever, else one client could mark
names until nobody's fields are indexed. For the same reason it takes a mark of a name in use to make encoders forget
their blocks.
"""

from typing import Final

from sidecar.proxy.http2.hpack_tables import STATIC, STATIC_LENGTH
from sidecar.proxy.native import i64

SECRET_NAMES: Final = frozenset(
    {b"authorization", b"cookie", b"dpop", b"proxy-authorization", b"set-cookie", b"x-api-key"}
)
"""Fields that are never indexed."""
VARYING_NAMES: Final = frozenset({b"content-length", b"date", b"etag", b"traceparent", b"x-request-id"})
"""Fields whose values do not come again, or not for long: they would only push out others."""
_STATIC_VALUED: Final = frozenset({row[0] for row in STATIC if row[1]})
"""The names of which a field with a value is in the static table."""
_STATIC_NAMES: Final = {STATIC[index][0]: index for index in range(STATIC_LENGTH, 0, -1)}
_MOST_NAMES: Final = 1024
_LONGEST_NAME: Final = 64
_MOST_MARKED: Final = 1024
"""Names that are marked. If they are as many, every name counts as one, until some are forgotten."""
_MARKED_FOR: Final = 1 << 18
"""Blocks for which a mark lasts at least; twice as many at most."""


class FieldName:
    """What is known of a name."""

    __slots__ = ("has_values", "is_secret", "literal", "varies")

    def __init__(self, name: bytes, *, is_marked: bool) -> None:
        self.is_secret = is_marked or name in SECRET_NAMES or len(name) > _LONGEST_NAME
        self.varies = name in VARYING_NAMES
        self.has_values = name in _STATIC_VALUED
        """Fields with a value are in the static table."""
        self.literal = named(name, 0x0F, 0x10 if self.is_secret else 0)
        """The beginning of a literal that does not enter the table (§6.2.2, §6.2.3)."""


class FieldNames:
    """What is known of the names in requests, or in responses."""

    __slots__ = ("_marked", "_marked_before", "blocks_left", "changes", "known")

    def __init__(self) -> None:
        self.known: dict[bytes, FieldName] = {}
        """The number of entries is bounded. Always the same object."""
        self.changes = 0
        """How many times what was known became void: encoded parts of earlier blocks may be, too."""
        self.blocks_left: i64 = _MARKED_FOR
        """Blocks to be encoded until `age`."""
        self._marked: set[bytes] = set()
        self._marked_before: set[bytes] = set()
        """Names that were marked before `age` was called last."""

    def noted(self, name: bytes) -> FieldName:
        """What is known of a name that is not in `known`; it may be afterwards."""
        made = FieldName(name, is_marked=self._is_marked(name))
        if len(name) <= _LONGEST_NAME:
            if len(self.known) >= _MOST_NAMES:
                self._forget()  # else one client could fill it, and no further name would ever be known
            self.known[name] = made
        return made

    def mark(self, name: bytes) -> None:
        """A peer sent a field of this name never-indexed."""
        marked = self._marked
        if name in marked or len(marked) >= _MOST_MARKED or len(name) > _LONGEST_NAME:
            return
        marked.add(name)
        if len(marked) >= _MOST_MARKED:
            self._forget()
        known = self.known.get(name)
        if known is not None and not known.is_secret:
            del self.known[name]
            self.changes += 1

    def age(self) -> None:
        """Forget the marks whose names have not come again."""
        self.blocks_left = _MARKED_FOR
        gone = self._marked_before
        self._marked_before = self._marked
        self._marked = set()
        if gone:
            self._forget()

    def _is_marked(self, name: bytes) -> bool:
        marked, before = self._marked, self._marked_before
        is_full = len(marked) >= _MOST_MARKED or len(before) >= _MOST_MARKED
        return is_full or name in marked or name in before

    def _forget(self) -> None:
        self.known.clear()
        self.changes += 1


REQUESTS: Final = FieldNames()
RESPONSES: Final = FieldNames()


def encoded_integer(value: int, prefix: int, pattern: int) -> bytes:
    """An integer (§5.1) whose prefix can hold `prefix` at most, under the pattern of its first byte."""
    if value < prefix:
        return bytes([pattern | value])
    octets = [pattern | prefix]
    value -= prefix
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


_LENGTHS: Final = [encoded_integer(length, 0x7F, 0) for length in range(256)]


def length_bytes(value: bytes) -> bytes:
    """The length of a string literal (§5.2)."""
    length = len(value)
    return _LENGTHS[length] if length < 256 else encoded_integer(length, 0x7F, 0)


def named(name: bytes, prefix: int, pattern: int) -> bytes:
    """The beginning of a literal: its name, by its index if there is one."""
    index = _STATIC_NAMES.get(name, 0)
    if index:
        return encoded_integer(index, prefix, pattern)
    return encoded_integer(0, prefix, pattern) + length_bytes(name) + name
