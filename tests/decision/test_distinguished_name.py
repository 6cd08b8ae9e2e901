import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.distinguished_name import Unreadable, attribute_values, rfc4514
from tests.support.odd_certificates import CN, OU, attribute, name, tlv


def read(encoded: bytes) -> str | Unreadable:
    return rfc4514(memoryview(encoded))


KINDS = [
    NameOID.COMMON_NAME, NameOID.LOCALITY_NAME, NameOID.STATE_OR_PROVINCE_NAME, NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.STREET_ADDRESS, NameOID.DOMAIN_COMPONENT, NameOID.USER_ID,
    NameOID.ORGANIZATION_IDENTIFIER, NameOID.GIVEN_NAME,
]  # fmt: skip
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)
ATTRIBUTES = st.tuples(st.sampled_from(KINDS), TEXTS)


@given(st.lists(st.lists(ATTRIBUTES, min_size=1, max_size=1), max_size=5))
def test_a_name_is_written_as_the_x509_library_writes_it(
    relative: list[list[tuple[x509.ObjectIdentifier, str]]],
) -> None:
    """Conditions of policies that are in use were written against that text."""
    names = [
        x509.RelativeDistinguishedName([x509.NameAttribute(kind, text) for kind, text in one])
        for one in relative
    ]
    encoded = x509.Name(names).public_bytes()
    assert read(encoded) == x509.Name.from_bytes(encoded).rfc4514_string()


@pytest.mark.parametrize(
    ("tag", "value", "text"),
    [
        (0x0C, "M\xfcller".encode(), "CN=M\xfcller"),
        (0x13, b"a@b_c*d&e", "CN=a@b_c*d&e"),
        (0x12, b"123", "CN=123"),
        (0x14, b"Mueller", "CN=Mueller"),
        (0x16, b"a@b", "CN=a@b"),
        (0x1A, b"seen", "CN=seen"),
        (0x1B, b"general", "CN=general"),
        (0x1C, "\u00fc".encode("utf-32-be"), "CN=\xfc"),
        (0x1E, "\u00fc".encode("utf-16-be"), "CN=\xfc"),
        (0x17, b"260101000000Z", "CN=260101000000Z"),
        (0x0C, b"", "CN="),
        (0x0C, b" ", "CN=\\ "),
        (0x0C, b"#a", "CN=\\#a"),
        (0x0C, b" a ", "CN=\\ a\\ "),
    ],
)
def test_each_kind_of_string_has_its_alphabet(tag: int, value: bytes, text: str) -> None:
    assert read(name(tlv(tag, value))) == text


@pytest.mark.parametrize(
    ("tag", "value", "why", "shown"),
    [
        (0x14, b"M\xfcller,x", "T61String that is not ASCII", "CN=M\\FCller\\,x"),
        (0x14, "M\xfcller".encode(), "T61String that is not ASCII", "CN=M\\C3\\BCller"),
        (0x16, b"\xfc", "IA5String that is not ASCII", "CN=\\FC"),
        (0x0C, b"\xfc", "UTF8String that is not UTF-8", "CN=\\FC"),
        (0x1E, b"\0", "BMPString that is not UTF-16-BE", "CN=\\00"),
        (0x0C, b"a\0b", "a control character", "CN=a\\00b"),
        (0x0C, b"a\nb", "a control character", "CN=a\\0Ab"),
        (0x03, b"\0\1", "a value that is no string", "CN=#03020001"),
        (0x30, b"", "a value that is no string", "CN=#3000"),
        (0x14, b"\xfc" * 65, "T61String that is not ASCII", "CN=" + "\\FC" * 64 + "…"),
        (0x04, b"x" * 65, "a value that is no string", "CN=#0441" + "78" * 62 + "…"),
    ],
)
def test_what_takes_a_guess_is_not_guessed(tag: int, value: bytes, why: str, shown: str) -> None:
    found = read(name(tlv(tag, value)))
    assert isinstance(found, Unreadable)
    assert (found.why, found.shown) == (why, shown)
    assert str(found) == f"unreadable ({why}): {shown}"


def test_what_can_be_read_is_shown_beside_what_cannot() -> None:
    found = read(name(tlv(0x0C, b"a"), tlv(0x14, b"\xfc")))
    assert isinstance(found, Unreadable)
    assert found.shown == "CN=\\FC,CN=a"


def test_the_unique_identifier_is_a_bit_string() -> None:
    """RFC 4519 §2.43"""
    assert read(tlv(0x30, tlv(0x31, attribute(tlv(0x03, b"\0\xff"), "55042d")))) == "2.5.4.45=#00ff"


def test_several_attributes_of_one_relative_name_are_joined() -> None:
    relative = tlv(0x31, attribute(tlv(0x0C, b"a"), CN), attribute(tlv(0x0C, b"b"), OU))
    assert read(tlv(0x30, relative)) == "CN=a+OU=b"


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        (b"", "cut short"),
        (b"\x30\x00\x30\x00", "bytes after the end"),
        (b"\x31\x00", "no sequence of relative names"),
        (tlv(0x30, tlv(0x30)), "no set of attributes"),
        (tlv(0x30, tlv(0x31, tlv(0x31))), "no type and value"),
        (tlv(0x30, tlv(0x31, tlv(0x30))), "no type and value"),
        (tlv(0x30, tlv(0x31, tlv(0x30, tlv(0x02, b"\1"), tlv(0x0C)))), "no attribute type"),
        (tlv(0x30, *[tlv(0x31, attribute(tlv(0x0C, b"a")))] * 129), "more than 128 attributes"),
        (tlv(0x30, *[tlv(0x31)] * 129), "more than 128 attributes"),
    ],
)
def test_what_is_no_name_is_shown_as_octets(encoded: bytes, why: str) -> None:
    found = read(encoded)
    assert isinstance(found, Unreadable)
    assert found.why == why
    assert found.shown.startswith("#")


def test_an_empty_relative_name_is_none() -> None:
    """RFC 5280 §4.1.2.4: RelativeDistinguishedName ::= SET SIZE (1..MAX) OF AttributeTypeAndValue."""
    found = read(tlv(0x30, tlv(0x31)))
    assert isinstance(found, Unreadable)
    assert found.why == "an empty relative name"


def test_no_name_at_all_is_an_empty_one() -> None:
    """RFC 5280 §4.1.2.6 allows an empty subject."""
    assert read(tlv(0x30)) == ""


def test_the_values_of_one_attribute_are_read_as_they_are() -> None:
    encoded = tlv(0x30, tlv(0x31, attribute(tlv(0x0C, b"a,b"), CN), attribute(tlv(0x0C, b"c"), OU)))
    assert attribute_values(memoryview(encoded), "2.5.4.3") == ("a,b",)
    assert attribute_values(memoryview(encoded), "2.5.4.11") == ("c",)
    assert attribute_values(memoryview(encoded), "2.5.4.10") == ()


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        (name(tlv(0x14, b"\xfc")), "T61String that is not ASCII"),
        (b"\x31\x00", "no sequence of relative names"),
        (tlv(0x30, tlv(0x31, tlv(0x30))), "no type and value"),
    ],
)
def test_an_attribute_that_takes_a_guess_has_no_value(encoded: bytes, why: str) -> None:
    found = attribute_values(memoryview(encoded), "2.5.4.3")
    assert isinstance(found, Unreadable)
    assert found.why == why
