"""Decoders that refuse whatever two readers could read differently.

Rules of this file: an input has one meaning or none; nothing is repaired, skipped or guessed. Each decoder returns
the value or raises `Malformed`; what that means for a request is the caller's business.
"""

import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from json.scanner import make_scanner
from math import isfinite
from typing import Any, Final, NoReturn, cast

_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_PLAIN: Final = bytes.maketrans(b"-_+/=", b"+/***")
"""To the alphabet of plain base64; what only that alphabet has becomes what no encoding has."""
_PADDING: Final = (b"", b"===", b"==", b"=")
"""By the length modulo 4."""

DEPTH = 32
"""How deep JSON may nest."""
DIGITS = 20
"""How many digits an integer may have: those of the largest 64-bit number."""
LATEST = 253_402_300_799
"""The last second of the year 9999. A later NumericDate is milliseconds, or a mistake."""

_MARKS: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class Malformed(ValueError):
    """The input is not what it should be; the message says why and never quotes it."""


def base64url(text: str) -> bytes:
    """Decodes base64url without padding (RFC 7515 §2).

    The encoding of the result must be the input: that refuses padding, white space, line breaks, the alphabet of plain
    base64 and every other character, and trailing bits that are not zero (RFC 4648 §3.5).
    """
    try:
        # The library's own decoder for this alphabet does the same in three functions of Python.
        length = len(text)
        over = length % 4
        plain = text.encode("ascii").translate(_PLAIN) + _PADDING[over]
        decoded = a2b_base64(plain)
    except ValueError:
        raise Malformed("not base64url") from None
    # The decoder skips what is not of its alphabet, and then the result is too short. So that its length is right says
    # that each character counted, and all bits but those of the last group are in the result.
    if over == 1 or len(decoded) != length * 3 // 4:
        raise Malformed("not canonical base64url without padding")
    if over and b2a_base64(decoded[1 - over :], newline=False) != plain[-4:]:
        raise Malformed("not canonical base64url without padding")
    return decoded


def base64url_text(data: bytes) -> str:
    """Encodes in base64url without padding (RFC 7515 §2), in two steps of C: every refused thumbprint is shown so."""
    return b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


def json_object(data: bytes, most: int | None = None) -> dict[str, Any]:
    """Decodes a JSON object (RFC 8259) as I-JSON has it (RFC 7493): UTF-8, unique names, no lone surrogates.

    Also refuses a byte order mark, NaN and infinities, numbers past a double or of more than `DIGITS` digits,
    and nesting deeper than `DEPTH`. `most` bounds the number of values, as its commas and brackets tell: those within
    text count too. The work is in proportion to that number more than to the length.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    if most is not None and text.count("{") + text.count("[") + text.count(",") > most:
        raise Malformed(f"more than {most} values")
    if _opens_many(text):
        _refuse_deep(text)
    try:
        text = text.strip(_SPACE)
        # What `_DECODER.decode` does, less two functions of Python and two regular expressions.
        value, end = _SCAN(text, 0)
        if end != len(text):
            raise Malformed("not JSON")
        # One character is found much faster than two.
        if "\\" in text and _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("a lone surrogate") from None
    except (json.JSONDecodeError, StopIteration):
        raise Malformed("not JSON") from None
    if type(value) is not dict:
        raise Malformed("not a JSON object")
    return value


def numeric_date(value: object) -> float | int:
    """Seconds since the epoch (RFC 7519 §2): a number, fractions allowed, from 1970 to the year 9999."""
    # bool is an int in Python; in JSON it is not a number.
    if type(value) is not int and type(value) is not float:
        raise Malformed("not a number")
    if not 0 <= value <= LATEST:
        raise Malformed("not a time between 1970 and 9999")
    return value


def _opens_many(text: str) -> bool:
    """Whether it opens more than `DEPTH` objects and arrays. Mostly there are few: looked for, and not counted, since
    to count is to look at each character.
    """
    left = DEPTH
    for opener in ("{", "["):
        at = text.find(opener)
        while at >= 0:
            if not left:
                return True
            left -= 1
            at = text.find(opener, at + 1)
    return False


def _refuse_deep(text: str) -> None:
    depth = 0
    for mark in _MARKS.findall(text):
        if mark in "[{":
            depth += 1
            if depth > DEPTH:
                raise Malformed("nested too deep")
        elif mark in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 7519 §4: "The Claim Names within a JWT Claims Set MUST be unique"
    members: dict[str, Any] = {}
    for (
        name,
        value,
    ) in pairs:  # compiled, this takes less than `dict`, and interpreted less than a comprehension
        members[name] = value  # noqa: PERF403
    if len(members) != len(pairs):
        raise Malformed("a name twice in one object")
    return members


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise Malformed("a number of too many digits")
    return int(digits)


def _double(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise Malformed("a number past a double")
    return number


def _constant(_name: str) -> NoReturn:
    raise Malformed("NaN or an infinity")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_double, parse_constant=_constant
)
_SCAN: Final[Callable[[str, int], tuple[Any, int]]] = cast("Any", make_scanner)(_DECODER)
_SPACE: Final = " \t\n\r"
"""RFC 8259 §2."""
