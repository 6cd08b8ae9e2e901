"""Fields of an exchange → HTTP/2 fields (RFC 9113 §8.2), for both directions. Pure."""

from typing import Final

from sidecar.http.lines import bare_value
from sidecar.http.message import Field

_LOWER: Final[dict[bytes, bytes]] = {}
"""Received names → lower case; the number of entries is bounded."""
_MOST_KNOWN: Final = 2048
_LONGEST_KNOWN: Final = 128


def lower_name(name: bytes) -> bytes:
    """RFC 9113 §8.2.1: "Field names MUST be converted to lowercase"."""
    known = _LOWER.get(name)
    return _lowered(name) if known is None else known


def _lowered(name: bytes) -> bytes:
    lower = name.lower()
    if len(name) <= _LONGEST_KNOWN:
        if len(_LOWER) >= _MOST_KNOWN:
            _LOWER.clear()  # else one client could fill it, and no further name would ever be cached
        _LOWER[name] = lower
    return lower


def http2_fields(fields: list[Field]) -> list[Field]:
    """Fields as HTTP/1.1 may have brought them."""
    return [(lower_name(name), bare_value(value)) for name, value in fields]


def line_fields(lines: bytes) -> list[Field]:
    """Fields from field lines, each with its line end."""
    pairs: list[Field] = []
    for line in lines.split(b"\r\n"):
        name, colon, value = line.partition(b": ")
        if colon:
            pairs.append((lower_name(name), bare_value(value)))
    return pairs
