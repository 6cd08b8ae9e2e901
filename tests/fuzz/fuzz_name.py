"""Distinguished names: one canonical form, or a refusal; registered text: a form, or a refusal."""

from sidecar.decision.canonical_name import MalformedName, canonical, canonical_text
from sidecar.decision.distinguished_name import Unreadable, rfc4514
from tests.support.odd_certificates import OU, attribute, name, tlv

SEEDS = [
    name(tlv(0x0C, b"client"), tlv(0x13, b"A  b ")),
    tlv(0x30, tlv(0x31, attribute(tlv(0x1E, b"\0a")), attribute(tlv(0x0C, b"\xc3\xbc"), OU))),
    name(tlv(0x14, b"\xfc")),
    b"CN=a\\2Cb+OU= x ,O=#0c0161",
    b"emailAddress=A@b,2.5.4.5=x,C=DE",
]


def target(data: bytes) -> None:
    form, text = canonical(memoryview(data)), rfc4514(memoryview(data))
    if isinstance(form, Unreadable):
        assert form.why
    elif not isinstance(text, Unreadable):
        # What is written of a name and can be registered is that name and no other.
        written = _registered(text)
        assert written is None or written == form
    _registered(data.decode("latin-1"))


def _registered(text: str) -> object:
    try:
        return canonical_text(text)
    except MalformedName:
        return None


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
