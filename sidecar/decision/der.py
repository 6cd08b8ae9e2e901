"""The Distinguished Encoding Rules (ITU-T X.690), as far as the names in a certificate need them.

OpenSSL has accepted the certificate before anything is read here. So nothing is judged: what is not DER is
`Malformed`, and the field that holds it is unreadable.
"""

from collections.abc import Iterator

from sidecar.decision.strict import Malformed

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
SEQUENCE = 0x30
SET = 0x31

_LONGEST_IDENTIFIER = 64
"""Bytes of an object identifier."""


class Element:
    """One tag, length and value. Holds a view of its content, not a copy."""

    __slots__ = ("content", "encoded", "tag")

    def __init__(self, tag: int, encoded: memoryview, content: memoryview) -> None:
        self.tag = tag
        """The identifier octet: class, constructed or not, number (X.690 §8.1.2)."""
        self.encoded = encoded
        """All of it, tag and length included."""
        self.content = content

    def expect(self, tag: int, what: str) -> memoryview:
        """The content; raises `Malformed` naming `what` when the tag is another."""
        if self.tag != tag:
            raise Malformed(f"no {what}")
        return self.content


def elements(content: memoryview) -> Iterator[Element]:
    """One after another, to the end; raises `Malformed`."""
    while content:
        element = first(content)
        yield element
        content = content[len(element.encoded) :]


def only(content: memoryview) -> Element:
    """The one element; raises `Malformed` when something follows it."""
    element = first(content)
    if len(element.encoded) != len(content):
        raise Malformed("bytes after the end")
    return element


def first(content: memoryview) -> Element:
    """The element that the content begins with; raises `Malformed`."""
    if len(content) < 2:
        raise Malformed("cut short")
    tag, length, start = content[0], content[1], 2
    if tag & 0x1F == 0x1F:
        raise Malformed("a tag of several bytes")
    if length >= 0x80:
        start += length & 0x7F
        length = _long_length(content, start)
    if len(content) < start + length:
        raise Malformed("cut short")
    return Element(tag, content[: start + length], content[start : start + length])


def _long_length(content: memoryview, end: int) -> int:
    """The length in the definite form, "encoded in the minimum number of octets" (X.690 §10.1)."""
    octets = bytes(content[2:end])
    if not 1 <= len(octets) <= 4 or len(octets) != end - 2:
        raise Malformed("a length that is not DER")
    length = int.from_bytes(octets, "big")
    if length < 0x80 or octets[0] == 0:
        raise Malformed("a length that is not DER")
    return length


def object_identifier(content: memoryview) -> str:
    """With dots (X.690 §8.19); raises `Malformed`."""
    if not 0 < len(content) <= _LONGEST_IDENTIFIER or content[-1] & 0x80:
        raise Malformed("no object identifier")
    arcs: list[int] = []
    value = 0
    for octet in content:
        if octet == 0x80 and value == 0:
            raise Malformed("no object identifier")
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    top = min(arcs[0] // 40, 2)
    return ".".join(map(str, (top, arcs[0] - 40 * top, *arcs[1:])))
