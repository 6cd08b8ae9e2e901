"""Pairs of distinguished names, the same on every machine: a name, and what might have been made of it on its way
through an authority, a file of settings or an attacker's hands.
"""

import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.support.odd_certificates import tlv

PAIRS: Final = 6000
UTF8, PRINTABLE, T61, IA5, NUMERIC, BMP, UNIVERSAL, VISIBLE = 0x0C, 0x13, 0x14, 0x16, 0x12, 0x1E, 0x1C, 0x1A
_CODECS: Final = {BMP: "utf-16-be", UNIVERSAL: "utf-32-be", T61: "latin-1", UTF8: "utf-8"}
KINDS: Final = {
    "CN": "550403", "O": "55040a", "OU": "55040b", "C": "550406", "L": "550407", "ST": "550408", "STREET": "550409",
    "DC": "0992268993f22c640119", "UID": "0992268993f22c640101", "organizationIdentifier": "550461",
    "serialNumber": "550405", "emailAddress": "2a864886f70d010901", "givenName": "55042a", "1.2.3.4": "2a0304",
}  # fmt: skip
_TEXTS: Final = (
    "Bank", "Bank AG", "tpp-1", "DE", "PSDDE-BAFIN-123456", "api@bank.example", "a,b", "a+b=c", "#1", "12", "x" * 70,
    "a b c", "Müller", "Žižkov", "Ångström", "Ιωάννης", "ＡＢ", "İstanbul", "Straße", "a\u200db", "a\u00a0b", "😀",
    "ﬁnance",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """One attribute."""

    kind: str
    tag: int
    text: str

    @property
    def der(self) -> bytes:
        octets = self.text.encode(_CODECS.get(self.tag, "ascii"), "replace")
        return tlv(0x30, tlv(0x06, bytes.fromhex(KINDS[self.kind])), tlv(self.tag, octets))


Name = tuple[tuple[Value, ...], ...]
"""Relative names, each of one or several attributes."""


def der(name: Name) -> bytes:
    return tlv(0x30, *(tlv(0x31, *sorted(one.der for one in relative)) for relative in name))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two names, and what was done to make the second of the first."""

    change: str
    left: Name
    right: Name


def pairs() -> list[Pair]:
    """`PAIRS` of them, each change about as often as the others."""
    chance = random.Random(8705)
    made = []
    for number in range(PAIRS):
        name = _name(chance)
        change = CHANGES[number % len(CHANGES)]
        other = change(name, chance)
        if chance.random() < 0.15:  # two changes at once
            other = chance.choice(CHANGES)(other, chance)
        made.append(Pair(change.__name__.strip("_"), name, other))
    return made


def _name(chance: random.Random) -> Name:
    return tuple(
        tuple(_value(chance) for _ in range(chance.choice((1, 1, 1, 2, 3))))
        for _ in range(chance.randint(1, 5))
    )


def _value(chance: random.Random) -> Value:
    kind, text = chance.choice(list(KINDS)), chance.choice(_TEXTS)
    tag = chance.choice((UTF8, PRINTABLE, UTF8, BMP)) if text.isascii() else UTF8
    if kind in ("emailAddress", "DC") and text.isascii():
        tag = IA5
    return Value(kind, tag, text)


def _changed(name: Name, chance: random.Random, change: Callable[[Value], Value]) -> Name:
    """One attribute of the name is another."""
    at = chance.randrange(len(name))
    place = chance.randrange(len(name[at]))
    relative = tuple(change(one) if index == place else one for index, one in enumerate(name[at]))
    return (*name[:at], relative, *name[at + 1 :])


def _same(name: Name, _chance: random.Random) -> Name:
    return name


def _other_string_type(name: Name, chance: random.Random) -> Name:
    def change(one: Value) -> Value:
        if one.text.isascii():
            return Value(
                one.kind, chance.choice((UTF8, PRINTABLE, T61, IA5, BMP, UNIVERSAL, VISIBLE)), one.text
            )
        return Value(one.kind, chance.choice((BMP, UNIVERSAL)), one.text.replace("😀", "☺"))

    return _changed(name, chance, change)


def _case(name: Name, chance: random.Random) -> Name:
    return _changed(name, chance, lambda one: Value(one.kind, one.tag, one.text.swapcase()))


def _outer_spaces(name: Name, chance: random.Random) -> Name:
    return _changed(name, chance, lambda one: Value(one.kind, one.tag, f" {one.text}  "))


def _inner_spaces(name: Name, chance: random.Random) -> Name:
    return _changed(name, chance, lambda one: Value(one.kind, one.tag, one.text.replace(" ", "   ")))


def _other_order(name: Name, chance: random.Random) -> Name:
    return tuple(chance.sample(name, len(name)))


def _other_order_within(name: Name, chance: random.Random) -> Name:
    return tuple(tuple(chance.sample(one, len(one))) for one in name)


def _split(name: Name, _chance: random.Random) -> Name:
    return tuple((one,) for relative in name for one in relative)


def _joined(name: Name, _chance: random.Random) -> Name:
    return (tuple(one for relative in name for one in relative),)


def _doubled(name: Name, chance: random.Random) -> Name:
    at = chance.randrange(len(name))
    return (*name[: at + 1], *name[at:])


def _doubled_within(name: Name, chance: random.Random) -> Name:
    at = chance.randrange(len(name))
    return (*name[:at], (*name[at], name[at][0]), *name[at + 1 :])


def _cut(name: Name, _chance: random.Random) -> Name:
    return name[:-1] or name


def _longer(name: Name, chance: random.Random) -> Name:
    return (*name, (_value(chance),))


def _other_attribute(name: Name, chance: random.Random) -> Name:
    kind = chance.choice(list(KINDS))
    return _changed(name, chance, lambda one: Value(kind, one.tag, one.text))


def _other_text(name: Name, chance: random.Random) -> Name:
    text = chance.choice(_TEXTS)
    return _changed(name, chance, lambda one: Value(one.kind, UTF8, text))


def _control_character(name: Name, chance: random.Random) -> Name:
    which = chance.choice("\0\t\n\x1b\x7f")
    return _changed(name, chance, lambda one: Value(one.kind, one.tag, f"{one.text}{which}.example"))


def _space_of_another_kind(name: Name, chance: random.Random) -> Name:
    which = chance.choice("\t\n\v\r\u00a0\u3000")
    return _changed(name, chance, lambda one: Value(one.kind, UTF8, one.text.replace(" ", which)))


def _empty(name: Name, chance: random.Random) -> Name:
    return _changed(name, chance, lambda one: Value(one.kind, one.tag, chance.choice(("", " ", "  "))))


def _both_composed(name: Name, chance: random.Random) -> Name:
    return _changed(
        name, chance, lambda one: Value(one.kind, one.tag, unicodedata.normalize("NFD", one.text))
    )


def _compatible(name: Name, chance: random.Random) -> Name:
    return _changed(
        name, chance, lambda one: Value(one.kind, one.tag, unicodedata.normalize("NFKC", one.text))
    )


def _invisible(name: Name, chance: random.Random) -> Name:
    which = chance.choice("\u200b\u200d\u00ad\u202e\ufeff")
    return _changed(name, chance, lambda one: Value(one.kind, UTF8, one.text[:1] + which + one.text[1:]))


def _look_alike(name: Name, chance: random.Random) -> Name:
    alike = str.maketrans("aeopcB", "аеорсВ")
    return _changed(name, chance, lambda one: Value(one.kind, UTF8, one.text.translate(alike)))


def _latin_1(name: Name, chance: random.Random) -> Name:
    return _changed(name, chance, lambda one: Value(one.kind, T61, one.text))


def _number(name: Name, chance: random.Random) -> Name:
    return _changed(name, chance, lambda one: Value(one.kind, NUMERIC, one.text))


CHANGES: Final = (
    _same, _other_string_type, _case, _outer_spaces, _inner_spaces, _other_order, _other_order_within, _split, _joined,
    _doubled, _doubled_within, _cut, _longer, _other_attribute, _other_text, _control_character,
    _space_of_another_kind, _empty, _both_composed, _compatible, _invisible, _look_alike, _latin_1, _number,
)  # fmt: skip
