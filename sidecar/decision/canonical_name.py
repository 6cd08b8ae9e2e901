"""Distinguished names in a form in which equal names are equal (RFC 5280 §7.1, RFC 4517 §4.2.15).

The form is OpenSSL's (`X509_NAME_cmp`), and stricter wherever two readers could see two names: the order of relative
names counts; within one, that of attributes does not; text is the same in any string type, without ASCII case, without
spaces around it, runs of spaces being one. A name that cannot be read unambiguously equals no other.

Rules of this file: no text is compared with text that somebody else wrote out (RFC 4514 has many spellings of one
name); both sides are parsed to this form, the registered one once.
"""

import re
from functools import lru_cache
from typing import Final
from unicodedata import category

from sidecar.decision.der import (
    OBJECT_IDENTIFIER,
    SEQUENCE,
    SET,
    Element,
    elements,
    object_identifier,
    only,
)
from sidecar.decision.distinguished_name import ATTRIBUTES, CONTROL, Unreadable, hexadecimal, text_value
from sidecar.decision.strict import Malformed

CanonicalName = tuple[tuple[tuple[str, bytes], ...], ...]
"""Relative names in the order of the encoding, each its attributes sorted: object identifier and value."""

MOST_RELATIVE_NAMES: Final = 64
"""A longer name equals nothing: comparing must not cost more than a signature."""

_LONG: Final = {
    "commonName": "2.5.4.3",
    "surname": "2.5.4.4",
    "countryName": "2.5.4.6",
    "localityName": "2.5.4.7",
    "stateOrProvinceName": "2.5.4.8",
    "streetAddress": "2.5.4.9",
    "organizationName": "2.5.4.10",
    "organizationalUnitName": "2.5.4.11",
    "title": "2.5.4.12",
    "description": "2.5.4.13",
    "businessCategory": "2.5.4.15",
    "postalCode": "2.5.4.17",
    "givenName": "2.5.4.42",
    "initials": "2.5.4.43",
    "generationQualifier": "2.5.4.44",
    "dnQualifier": "2.5.4.46",
    "pseudonym": "2.5.4.65",
    "domainComponent": "0.9.2342.19200300.100.1.25",
    "userId": "0.9.2342.19200300.100.1.1",
    "E": "1.2.840.113549.1.9.1",
    "jurisdictionL": "1.3.6.1.4.1.311.60.2.1.1",
    "jurisdictionST": "1.3.6.1.4.1.311.60.2.1.2",
    "jurisdictionC": "1.3.6.1.4.1.311.60.2.1.3",
}
KEYWORDS: Final = {name.lower(): identifier for name, identifier in (ATTRIBUTES | _LONG).items()}
"""What an attribute may be called in a registered name (RFC 4514 §3 and usual names), in lower case."""
_FOLDED: Final = frozenset(KEYWORDS.values())
"""Attributes whose values are text without case (caseIgnoreMatch, caseIgnoreIA5Match). Values of other attributes
are equal only if their encodings are, because their matching rules are not known here.
"""
_UTF8_STRING: Final = 12
_BMP_STRING: Final = 30
_TEXT: Final = frozenset({_UTF8_STRING, 19, 20, 22, 28, _BMP_STRING})
"""String types that OpenSSL compares as text (`ASN1_MASK_CANON`), and reads in a name."""
_SPACES: Final = re.compile(r" {2,}")
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}

_IDENTIFIER: Final = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,38})){1,20}")
_HEXADECIMAL: Final = re.compile(r"#((?:[0-9A-Fa-f]{2})+)")
_ESCAPE: Final = re.compile(r'\\(?:([ "#+,;<=>\\])|([0-9A-Fa-f]{2}))')
_BARE: Final = re.compile(r'[",;<>+\\\x00-\x1f\x7f]')


class MalformedName(ValueError):
    """A registered name that cannot be parsed. The message says why, and what to write."""


def canonical(encoded: memoryview) -> CanonicalName | Unreadable:
    """The canonical form of a name, DER. Never raises."""
    try:
        names: list[tuple[tuple[str, bytes], ...]] = []
        for relative in elements(only(encoded).expect(SEQUENCE, "sequence of relative names")):
            if len(names) == MOST_RELATIVE_NAMES:
                raise Malformed(f"more than {MOST_RELATIVE_NAMES} relative names")
            names.append(_relative(relative))
    except Malformed as problem:
        return Unreadable(str(problem), hexadecimal(encoded))
    return tuple(names) if names else Unreadable("an empty name", hexadecimal(encoded))


def _relative(element: Element) -> tuple[tuple[str, bytes], ...]:
    attributes: list[tuple[str, bytes]] = []
    for one in elements(element.expect(SET, "set of attributes")):
        parts = list(elements(one.expect(SEQUENCE, "type and value")))
        if len(parts) != 2:
            raise Malformed("no type and value")
        kind = object_identifier(parts[0].expect(OBJECT_IDENTIFIER, "attribute type"))
        attributes.append((kind, _value(kind, parts[1])))
        if len(attributes) > MOST_RELATIVE_NAMES:
            raise Malformed(f"more than {MOST_RELATIVE_NAMES} attributes in a relative name")
    if not attributes:  # RFC 5280 §4.1.2.4: SET SIZE (1..MAX)
        raise Malformed("an empty relative name")
    return tuple(sorted(attributes))


def _value(kind: str, value: Element) -> bytes:
    if kind not in _FOLDED or value.tag not in _TEXT:
        return b"=" + bytes(value.encoded)
    text = text_value(value)
    if isinstance(text, Unreadable):
        raise Malformed(text.why)
    if value.tag == _BMP_STRING and not text.isascii() and max(text) > "\uffff":
        raise Malformed("a BMPString beyond the basic plane")
    return _folded(text, value.encoded)


def _folded(text: str, encoded: memoryview | bytes) -> bytes:
    """Text as it is compared. Text with invisible characters is compared by its encoding."""
    if not text.isascii() and any(category(one) in ("Cc", "Cf", "Zl", "Zp") for one in text):
        return b"=" + bytes(encoded)
    folded = _SPACES.sub(" ", text.strip(" ")).translate(_LOWER)
    if not folded:
        raise Malformed("an empty value")
    return b"~" + folded.encode()


# --- what is registered


def canonical_text(text: str) -> CanonicalName:
    """The canonical form of a name in the notation of RFC 4514, as `tls_client_auth_subject_dn` has it (RFC 8705
    §2.1.2). Raises `MalformedName`.
    """
    if not text.strip(" "):
        raise MalformedName("an empty name is in many certificates: name at least one attribute")
    if text.startswith("/"):
        raise MalformedName("expected RFC 4514 (CN=name,O=organization,C=DE), got the notation with slashes")
    names = [_relative_text(one) for one in _split(text, ",")]
    if len(names) > MOST_RELATIVE_NAMES:
        raise MalformedName(f"more than {MOST_RELATIVE_NAMES} relative names")
    return tuple(reversed(names))  # RFC 4514 §2.1: "starting with the last element of the sequence"


@lru_cache(maxsize=4096)
def _relative_text(text: str) -> tuple[tuple[str, bytes], ...]:
    return tuple(sorted([_attribute_text(one) for one in _split(text, "+")]))


def _split(text: str, separator: str) -> list[str]:
    """At separators that no backslash precedes."""
    if "\\" not in text:
        return text.split(separator)
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def _attribute_text(text: str) -> tuple[str, bytes]:
    keyword, equals, value = text.partition("=")
    keyword = keyword.strip(" ")
    if not equals or not keyword:
        raise MalformedName(f"expected an attribute and its value (CN=name), got {text.strip(' ')!r}")
    kind = KEYWORDS.get(keyword.lower())
    if kind is None:
        if _IDENTIFIER.fullmatch(keyword) is None:
            known = ", ".join(sorted(ATTRIBUTES))
            message = f"unknown attribute {keyword!r}: write its object identifier, or one of {known} or its long name"
            raise MalformedName(message)
        kind = keyword
    try:
        return kind, _value_text(
            kind, keyword, value.strip(" ") if not value.endswith("\\ ") else value.lstrip(" ")
        )
    except Malformed as problem:
        raise MalformedName(f"{keyword}: {problem}") from None


def _value_text(kind: str, keyword: str, value: str) -> bytes:
    if value.startswith("#"):
        found = _HEXADECIMAL.fullmatch(value)
        if found is None:
            raise MalformedName(f"{keyword}: `#` begins a value in hexadecimal; for the character write \\#")
        return _value(kind, only(memoryview(bytes.fromhex(found.group(1)))))
    if kind not in _FOLDED:
        raise MalformedName(
            f"{keyword}: of this attribute write the encoded value, as # and hexadecimal digits"
        )
    text = _unescaped(keyword, value)
    if CONTROL.search(text) is not None:
        raise MalformedName(f"{keyword}: a control character")
    data = text.encode()
    return _folded(text, _element(_UTF8_STRING, data))


def _unescaped(keyword: str, value: str) -> str:
    """RFC 4514 §3: a backslash and a special character, or one and an octet of UTF-8 in hexadecimal."""
    if value.isascii() and _BARE.search(value) is None:
        return value
    made, at = bytearray(), 0
    while at < len(value):
        escape = _ESCAPE.match(value, at)
        if escape is not None:
            made += escape.group(1).encode() if escape.group(1) else bytes.fromhex(escape.group(2))
            at = escape.end()
            continue
        if _BARE.match(value, at) is not None:
            raise MalformedName(f"{keyword}: put a backslash before {value[at]!r}")
        made += value[at].encode("utf-8", "surrogatepass")
        at += 1
    try:
        return made.decode()
    except UnicodeDecodeError:
        raise MalformedName(f"{keyword}: escaped octets that are not UTF-8") from None


def _element(tag: int, data: bytes) -> bytes:
    """An element of DER (X.690 §8.1.3)."""
    if len(data) < 0x80:
        return bytes((tag, len(data))) + data
    size = len(data).to_bytes((len(data).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + data
