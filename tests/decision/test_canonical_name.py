"""Names that are equal have one canonical form, and names that two readers could take for equal have two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.canonical_name import CanonicalName, MalformedName, canonical, canonical_text
from sidecar.decision.distinguished_name import ATTRIBUTES, Unreadable, rfc4514
from tests.support.odd_certificates import CN, OU, attribute, name, tlv

EMAIL = "2a864886f70d010901"
UNKNOWN = "2a0304"
"""1.2.3.4."""


def form(encoded: bytes) -> CanonicalName | Unreadable:
    return canonical(memoryview(encoded))


def utf8(text: str) -> bytes:
    return tlv(0x0C, text.encode())


def one(value: bytes, kind: str = CN) -> bytes:
    return tlv(0x30, tlv(0x31, attribute(value, kind)))


EQUAL = [
    (one(utf8("Bank")), one(tlv(0x13, b"Bank"))),
    (one(utf8("Bank")), one(tlv(0x1E, "Bank".encode("utf-16-be")))),
    (one(utf8("Bank")), one(tlv(0x1C, "Bank".encode("utf-32-be")))),
    (one(utf8("Bank")), one(tlv(0x14, b"Bank"))),
    (one(utf8("Bank")), one(utf8("bANK"))),
    (one(utf8("Bank AG")), one(utf8("  Bank   AG "))),
    (one(utf8("a@b.example"), EMAIL), one(tlv(0x16, b"A@B.example"), EMAIL)),
    (
        tlv(0x30, tlv(0x31, attribute(utf8("a")), attribute(utf8("b"), OU))),
        tlv(0x30, tlv(0x31, attribute(utf8("b"), OU), attribute(utf8("a")))),
    ),
    (one(utf8("a"), UNKNOWN), one(utf8("a"), UNKNOWN)),
    (one(utf8("Grüße")), one(utf8("grüße"))),
    (one(tlv(0x12, b"12")), one(tlv(0x12, b"12"))),
]
UNEQUAL = [
    (name(utf8("a"), utf8("b")), name(utf8("b"), utf8("a"))),
    (tlv(0x30, tlv(0x31, attribute(utf8("a")), attribute(utf8("b")))), name(utf8("a"), utf8("b"))),
    (one(utf8("a")), one(utf8("a"), OU)),
    (one(utf8("a"), UNKNOWN), one(utf8("A"), UNKNOWN)),
    (one(utf8("a"), UNKNOWN), one(tlv(0x13, b"a"), UNKNOWN)),
    (one(tlv(0x12, b"12")), one(utf8("12"))),
    (one(utf8("Grüße")), one(utf8("GRÜSSE"))),
    (one(utf8("GRÜSSE")), one(utf8("grüsse"))),
    (one(utf8("u\u0308")), one(utf8("\u00fc"))),
    (one(utf8("a\u200db")), one(utf8("ab"))),
    (one(utf8("a\u200db")), one(tlv(0x1E, "a\u200db".encode("utf-16-be")))),
    (name(utf8("a")), name(utf8("a"), utf8("a"))),
    (one(utf8("a")), tlv(0x30, tlv(0x31, attribute(utf8("a")), attribute(utf8("A"))))),
    (one(utf8("a\u00a0b")), one(utf8("a b"))),
    (one(utf8("\u0430")), one(utf8("a"))),
]
UNREADABLE = [
    (tlv(0x30), "an empty name"),
    (one(utf8("")), "an empty value"),
    (one(utf8("  ")), "an empty value"),
    (one(utf8("a\0b")), "a control character"),
    (one(utf8("a\tb")), "a control character"),
    (one(tlv(0x14, b"M\xfcller")), "T61String that is not ASCII"),
    (one(tlv(0x0C, b"\xff")), "UTF8String that is not UTF-8"),
    (one(tlv(0x1E, "\U0001f600".encode("utf-16-be"))), "a BMPString beyond the basic plane"),
    (tlv(0x30, tlv(0x31)), "an empty relative name"),
    (tlv(0x30, tlv(0x31, tlv(0x30, b""))), "no type and value"),
    (tlv(0x30, tlv(0x30)), "no set of attributes"),
    (b"\x30\x05\x31", "cut short"),
    (one(utf8("a")) + b"\0", "bytes after the end"),
    (name(*[utf8("a")] * 65), "more than 64 relative names"),
    (name(*[utf8("a")] * 6200), "more than 64 relative names"),
    (tlv(0x30, tlv(0x31, *[attribute(utf8("a"))] * 65)), "more than 64 attributes in a relative name"),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equal_names_have_one_form(left: bytes, right: bytes) -> None:
    assert not isinstance(form(left), Unreadable)
    assert form(left) == form(right)


@pytest.mark.parametrize(("left", "right"), UNEQUAL)
def test_names_that_differ_have_two(left: bytes, right: bytes) -> None:
    assert not isinstance(form(left), Unreadable)
    assert not isinstance(form(right), Unreadable)
    assert form(left) != form(right)


@pytest.mark.parametrize(("encoded", "why"), UNREADABLE)
def test_name_that_cannot_be_read_without_a_guess_equals_nothing(encoded: bytes, why: str) -> None:
    found = form(encoded)
    assert isinstance(found, Unreadable)
    assert found.why == why


@given(st.binary(max_size=60))
def test_any_bytes_have_a_form_or_none(data: bytes) -> None:
    assert isinstance(form(data), tuple | Unreadable)


# --- what is registered

SAME = [
    ("CN=a,O=Bank", "CN=a, O=Bank"),
    ("CN=a,O=Bank", "cn = A , o = bank"),
    ("CN=a,O=Bank", "commonName=a,organizationName=Bank"),
    ("CN=a,O=Bank", "2.5.4.3=a,2.5.4.10=Bank"),
    ("CN=a,O=Bank", "CN=#0c0161,O=#130442616e6b"),
    ("CN=a\\,b", "CN=a\\2Cb"),
    ("CN=a\\ ", "CN=a"),
    ("CN=\\ a\\20", "CN=a"),
    ("CN=L\\C3\\BC", "CN=Lü"),
    ("CN=a+OU=b", "OU=b+CN=a"),
    ('CN=a\\+b\\=c\\#\\;\\<\\>\\\\\\"', "CN=a\\2bb\\3dc\\23\\3B\\3c\\3e\\5C\\22"),
    ("E=a@b.example", "emailAddress=A@B.example"),
    ("CN=\\#a", "CN=\\23a"),
    ("serialNumber=PSD-1", "2.5.4.5=psd-1"),
]
MALFORMED = [
    ("", "an empty name"),
    (" ", "an empty name"),
    ("/C=DE/CN=a", "the notation with slashes"),
    ("CN", "expected an attribute and its value (CN=name), got 'CN'"),
    ("CN=a,", "expected an attribute and its value (CN=name), got ''"),
    ("=a", "expected an attribute and its value"),
    ("XYZ=a", "unknown attribute 'XYZ': write its object identifier, or one of C, CN, DC,"),
    ("SN=a", "unknown attribute 'SN'"),
    ("1.2.3.4=a", "write the encoded value"),
    ("1.02.3=#0500", "unknown attribute '1.02.3'"),
    ("CN=a;b", "put a backslash before ';'"),
    ('CN="a"', "put a backslash before '\"'"),
    ("CN=a\\", "put a backslash before '\\\\'"),
    ("CN=a\\zb", "put a backslash before '\\\\'"),
    ("CN=\\E4", "escaped octets that are not UTF-8"),
    ("CN=a\ud800", "escaped octets that are not UTF-8"),
    ("CN=a\\00", "a control character"),
    ("CN=a\tb", "put a backslash before '\\t'"),
    ("CN=", "CN: an empty value"),
    ("CN=#", "`#` begins a value in hexadecimal"),
    ("CN=#0c01", "CN: cut short"),
    ("CN=#1402fcfc", "CN: T61String that is not ASCII"),
    (",".join(["CN=a"] * 65), "more than 64 relative names"),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_registered_names_have_many_spellings_and_one_form(left: str, right: str) -> None:
    assert canonical_text(left) == canonical_text(right)


@pytest.mark.parametrize(("text", "why"), MALFORMED)
def test_registered_name_that_is_none_is_refused_with_its_cure(text: str, why: str) -> None:
    with pytest.raises(MalformedName) as caught:
        canonical_text(text)
    assert why in str(caught.value)


def test_registered_name_begins_with_the_last_element() -> None:
    """RFC 4514 §2.1."""
    assert canonical_text("CN=a,OU=b") == form(
        tlv(0x30, tlv(0x31, attribute(utf8("b"), OU)), tlv(0x31, attribute(utf8("a"))))
    )


@pytest.mark.parametrize("text", ["CN=a\\,b,OU=c\\+d", "CN=a\\2Cb,OU=c\\2bd", "CN=a\\,b,OU=c\\2bd"])
def test_what_a_backslash_precedes_separates_nothing(text: str) -> None:
    """RFC 4514 §2.4."""
    assert canonical_text(text) == form(
        tlv(0x30, tlv(0x31, attribute(utf8("c+d"), OU)), tlv(0x31, attribute(utf8("a,b"))))
    )
    assert canonical_text("CN=a\\,b+OU=c") == form(
        tlv(0x30, tlv(0x31, attribute(utf8("a,b")), attribute(utf8("c"), OU)))
    )


def test_value_in_hexadecimal_is_the_encoded_value() -> None:
    """The same octets are the same value, also of an attribute that nobody knows; another type of string is not."""
    assert canonical_text("1.2.3.4=#0c0161") == form(one(utf8("a"), UNKNOWN))
    assert canonical_text("1.2.3.4=#130161") != form(one(utf8("a"), UNKNOWN))


def test_invisible_characters_are_compared_by_their_encoding() -> None:
    assert canonical_text("CN=a\u00adb") == form(one(utf8("a\u00adb")))
    assert canonical_text("CN=a\u00adb") != canonical_text("CN=ab")
    long = "\u00ad" * 200
    assert canonical_text(f"CN={long}") == form(one(utf8(long)))
    assert canonical_text(f"CN={long[:64]}") == form(one(utf8(long[:64])))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(ATTRIBUTES)),
            st.text(
                st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1
            ),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_the_record_writes_of_a_subject_can_be_registered(parts: list[tuple[str, str]]) -> None:
    """An operator copies the name from a record of the refusal; it is then the name of that certificate."""
    kinds = {short: bytes.fromhex(encoded) for short, encoded in KINDS.items()}
    encoded = tlv(0x30, *(tlv(0x31, tlv(0x30, tlv(0x06, kinds[kind]), utf8(text))) for kind, text in parts))
    found, text = form(encoded), rfc4514(memoryview(encoded))
    if isinstance(found, Unreadable) or isinstance(text, Unreadable):
        return
    assert canonical_text(text) == found


KINDS = {
    "CN": "550403", "L": "550407", "ST": "550408", "O": "55040a", "OU": "55040b", "C": "550406", "STREET": "550409",
    "DC": "0992268993f22c640119", "UID": "0992268993f22c640101", "organizationIdentifier": "550461",
    "serialNumber": "550405", "emailAddress": EMAIL,
}  # fmt: skip
