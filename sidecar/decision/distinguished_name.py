"""Distinguished names (RFC 5280 §4.1.2.4) as text (RFC 4514), or why they cannot be read."""

import re
from typing import Final

from sidecar.decision.der import (
    BIT_STRING,
    OBJECT_IDENTIFIER,
    SEQUENCE,
    SET,
    Element,
    elements,
    object_identifier,
    only,
)
from sidecar.decision.strict import Malformed

_SHORT: Final = {
    "2.5.4.3": "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
"""RFC 4514 §3."""
ATTRIBUTES: Final = {short: identifier for identifier, short in _SHORT.items()} | {
    "organizationIdentifier": "2.5.4.97",
    "serialNumber": "2.5.4.5",
    "emailAddress": "1.2.840.113549.1.9.1",
}
"""What attributes are called in settings; `organizationIdentifier` stands in eIDAS certificates (ETSI EN 319 412-1)."""
_UNIQUE_IDENTIFIER: Final = "2.5.4.45"
"""The one attribute whose value is a BIT STRING (RFC 4519 §2.43)."""

_UTF8_STRING: Final = 12
_ENCODINGS: Final = {
    _UTF8_STRING: ("UTF8String", "utf-8"),
    18: ("NumericString", "ascii"),
    19: ("PrintableString", "ascii"),
    20: ("T61String", "ascii"),
    22: ("IA5String", "ascii"),
    23: ("UTCTime", "ascii"),
    24: ("GeneralizedTime", "ascii"),
    26: ("VisibleString", "ascii"),
    27: ("GeneralString", "ascii"),
    28: ("UniversalString", "utf-32-be"),
    30: ("BMPString", "utf-16-be"),
}
"""What can be read without a guess. A T61String beyond ASCII is T.61, Latin-1 or UTF-8, whoever made it."""

_MOST_ATTRIBUTES: Final = 128
_SHOWN_BYTES: Final = 64
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
"""A NUL or another control character has made readers see another name than was certified."""
_SPECIAL: Final = re.compile(r'[\\"+,;<>]')


class Unreadable:
    """A field that does not say what it means without a guess. Nothing is decided by it."""

    __slots__ = ("shown", "why")

    def __init__(self, why: str, shown: str) -> None:
        self.why = why
        """What is wrong with it, in our own words."""
        self.shown = shown
        """Its content; octets that are not text are escaped."""

    def __str__(self) -> str:
        return f"unreadable ({self.why}): {self.shown}"


def rfc4514(encoded: memoryview) -> str | Unreadable:
    """The name that is encoded, last relative name first, as RFC 4514 §2.1 has it. Never raises."""
    try:
        return _written(encoded)
    except Malformed as problem:
        return Unreadable(str(problem), hexadecimal(encoded))


def attribute_values(encoded: memoryview, identifier: str) -> tuple[str, ...] | Unreadable:
    """The values of one attribute of a name, as they are and not as RFC 4514 writes them, in order; or why there is no
    telling which. Never raises. Other attributes do not matter, readable or not.
    """
    found: list[str] = []
    try:
        for relative in elements(only(encoded).expect(SEQUENCE, "sequence of relative names")):
            for element in elements(relative.expect(SET, "set of attributes")):
                parts = list(elements(element.expect(SEQUENCE, "type and value")))
                if len(parts) != 2:
                    raise Malformed("no type and value")
                if object_identifier(parts[0].expect(OBJECT_IDENTIFIER, "attribute type")) != identifier:
                    continue
                value = text_value(parts[1])
                if isinstance(value, Unreadable):
                    return value
                found.append(value)
    except Malformed as problem:
        return Unreadable(str(problem), hexadecimal(encoded))
    return tuple(found)


def hexadecimal(data: memoryview) -> str:
    """`#` and the octets (RFC 4514 §2.4), as many as a person may want to see."""
    return f"#{data[:_SHOWN_BYTES].hex()}{'…' if len(data) > _SHOWN_BYTES else ''}"


def _written(encoded: memoryview) -> str | Unreadable:
    doubts: list[str] = []
    names: list[str] = []
    count = 0
    for relative in elements(only(encoded).expect(SEQUENCE, "sequence of relative names")):
        attributes = list(elements(relative.expect(SET, "set of attributes")))
        count += len(attributes) or 1
        if count > _MOST_ATTRIBUTES:
            raise Malformed(f"more than {_MOST_ATTRIBUTES} attributes")
        if not attributes:  # RFC 5280 §4.1.2.4: SET SIZE (1..MAX)
            doubts.append("an empty relative name")
        names.append("+".join([_attribute(one, doubts) for one in attributes]))
    text = ",".join(reversed(names))
    return Unreadable(doubts[0], text) if doubts else text


def _attribute(element: Element, doubts: list[str]) -> str:
    parts = list(elements(element.expect(SEQUENCE, "type and value")))
    if len(parts) != 2:
        raise Malformed("no type and value")
    kind, value = object_identifier(parts[0].expect(OBJECT_IDENTIFIER, "attribute type")), parts[1]
    return f"{_SHORT.get(kind, kind)}={_value(kind, value, doubts)}"


def _value(kind: str, value: Element, doubts: list[str]) -> str:
    if value.tag == BIT_STRING and kind == _UNIQUE_IDENTIFIER:
        return f"#{value.content.hex()}"
    text = text_value(value)
    if isinstance(text, Unreadable):
        doubts.append(text.why)
        return text.shown
    return _escaped(text)


def text_value(value: Element) -> str | Unreadable:
    """A string of ASN.1 as text, or why it cannot be read."""
    known = _ENCODINGS.get(value.tag)
    if known is None:
        return Unreadable("a value that is no string", hexadecimal(value.encoded))
    name, encoding = known
    try:
        text = bytes(value.content).decode(encoding)
    except UnicodeDecodeError:
        return Unreadable(f"{name} that is not {encoding.upper()}", _octets(value.content))
    if CONTROL.search(text):
        return Unreadable("a control character", _octets(value.content))
    return text


def _escaped(text: str) -> str:
    """RFC 4514 §2.4."""
    text = _SPECIAL.sub(r"\\\g<0>", text)
    if text[:1] == "#" or (text[:1] == " " and len(text) > 1):
        text = "\\" + text
    return text[:-1] + "\\ " if text[-1:] == " " else text


def _octets(data: memoryview) -> str:
    """What is no text of a known alphabet: each octet that is not printable in hexadecimal after a backslash."""
    shown = "".join(_octet(octet) for octet in data[:_SHOWN_BYTES])
    return f"{shown}…" if len(data) > _SHOWN_BYTES else shown


def _octet(octet: int) -> str:
    character = chr(octet)
    if not 0x20 <= octet < 0x7F:
        return f"\\{octet:02X}"
    return f"\\{character}" if _SPECIAL.match(character) else character
