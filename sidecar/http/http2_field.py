"""The characters of one field of HTTP/2, and the kind of its name (RFC 9113 §8.2 and §8.3). Pure."""

import re
from typing import Final

from sidecar.http.message import Field

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
"""Characters of a name: RFC 9110 §5.6.2, and no upper case (RFC 9113 §8.2.1)."""
_CLEAN: Final = bytes(0x20 if (byte < 0x20 and byte != 0x09) or byte == 0x7F else byte for byte in range(256))
"""Characters of a value (RFC 9110 §5.5) → themselves, control characters → another character. A lookup in a table of
all 256 is faster than a search for forbidden ones.
"""
# Kinds of names, as plain integers: compiled code compares them at no cost. Pseudo-header fields are below 0.
UNKNOWN_PSEUDO: Final = -5
METHOD: Final = -4
SCHEME: Final = -3
PATH: Final = -2
AUTHORITY: Final = -1
PLAIN: Final = 0
# Those from here on are heeded: `http2_request` does more with them than to pass them on.
CONTENT_TYPE: Final = 1
GRPC_TIMEOUT: Final = 2
PRIORITY: Final = 3
COOKIE: Final = 4
# Those from here on frame or route a message and cannot be trailers (RFC 9110 §6.5.1).
TRAILER: Final = 5
LENGTH: Final = 6
HOST: Final = 7
TE: Final = 8
CONNECTION_SPECIFIC: Final = 9
"""RFC 9113 §8.2.2."""
_OWN_KINDS: Final = {
    b":method": METHOD,
    b":scheme": SCHEME,
    b":path": PATH,
    b":authority": AUTHORITY,
    b"content-type": CONTENT_TYPE,
    b"grpc-timeout": GRPC_TIMEOUT,
    b"priority": PRIORITY,
    b"cookie": COOKIE,
    b"trailer": TRAILER,
    b"content-length": LENGTH,
    b"host": HOST,
    b"te": TE,
    b"connection": CONNECTION_SPECIFIC,
    b"keep-alive": CONNECTION_SPECIFIC,
    b"proxy-connection": CONNECTION_SPECIFIC,
    b"transfer-encoding": CONNECTION_SPECIFIC,
    b"upgrade": CONNECTION_SPECIFIC,
}
_KNOWN_NAMES: Final[dict[bytes, int]] = dict(_OWN_KINDS)
"""Names that were found valid → kinds: one look-up says all about a name. The number of entries is bounded."""
_MOST_KNOWN: Final = 2048
_LONGEST_KNOWN: Final = 128

MISPLACED: Final = "pseudo-header fields twice, or behind other fields"
"""What is wrong with them."""


class MalformedField(Exception):
    """The message is malformed (RFC 9113 §8.1.1)."""


def check_value(value: bytes) -> None:
    """Check that a value can be written as HTTP/1.1. Raises `MalformedField`."""
    if value and (value[0] <= 0x20 or value[-1] <= 0x20 or value.translate(_CLEAN) != value):
        raise MalformedField("a field value with a control character, or with space around it")


def kind_of(name: bytes, value: bytes) -> int:
    """Check a field; returns the kind of its name. Raises `MalformedField`."""
    check_value(value)
    kind = _KNOWN_NAMES.get(name)
    return _kind_of_new(name) if kind is None else kind


def kind_at(at: int, name: bytes, value: bytes, last: tuple[Field, ...], kinds: list[int]) -> int:
    """`kind_of` the field at this place of a block. `last` are the fields of an earlier block, all found valid, and
    `kinds` at least their kinds; the kind of this field takes its place there.
    """
    if at < len(last):
        last_name, last_value = last[at]
        if name == last_name:
            if value != last_value:
                check_value(value)
            return kinds[at]
    kind = kind_of(name, value)
    if at < len(kinds):
        kinds[at] = kind
    else:
        kinds.append(kind)
    return kind


def _kind_of_new(name: bytes) -> int:
    if name[:1] == b":":
        return UNKNOWN_PSEUDO
    if not _NAME.match(name):
        raise MalformedField("a field name that is no token in lower case")
    if len(name) <= _LONGEST_KNOWN:
        if len(_KNOWN_NAMES) >= _MOST_KNOWN:
            _KNOWN_NAMES.clear()  # else one client could fill it, and no further name would ever be cached
            _KNOWN_NAMES.update(_OWN_KINDS)
        _KNOWN_NAMES[name] = PLAIN
    return PLAIN
