"""How the name of a field is encoded (RFC 7541 §6.2), and whether its values may enter a table. For all connections:
names are no secrets.
"""

from typing import Final

from sidecar.proxy.http2.hpack_tables import STATIC, STATIC_LENGTH

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
_MARKED: Final = set(SECRET_NAMES)
"""Names that some peer sent never-indexed. If they are many, every further name counts as one; so does a long name."""


class FieldName:
    """What is known of a name."""

    __slots__ = ("has_values", "is_secret", "literal", "varies")

    def __init__(self, name: bytes) -> None:
        self.is_secret = name in _MARKED or len(_MARKED) >= _MOST_MARKED or len(name) > _LONGEST_NAME
        self.varies = name in VARYING_NAMES
        self.has_values = name in _STATIC_VALUED
        """Fields with a value are in the static table."""
        self.literal = named(name, 0x0F, 0x10 if self.is_secret else 0)
        """The beginning of a literal that does not enter the table (§6.2.2, §6.2.3)."""


NAMES: Final[dict[bytes, FieldName]] = {}
"""The number of entries is bounded."""


def noted(name: bytes) -> FieldName:
    """What is known of a name that is not in `NAMES`; it may be afterwards."""
    made = FieldName(name)
    if len(name) <= _LONGEST_NAME:
        if len(NAMES) >= _MOST_NAMES:
            NAMES.clear()  # else one client could fill it, and no further name would ever be known
        NAMES[name] = made
    return made


def mark(name: bytes) -> None:
    """A peer sent a field of this name never-indexed. RFC 7541 §6.2.3: whoever forwards it must do the same."""
    if name not in _MARKED and len(_MARKED) < _MOST_MARKED and len(name) <= _LONGEST_NAME:
        _MARKED.add(name)
        NAMES.clear()


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
