import pytest

from sidecar.decision.der import elements, first, object_identifier, only
from sidecar.decision.strict import Malformed
from tests.support.odd_certificates import tlv


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_an_element_is_its_tag_and_its_content(size: int) -> None:
    encoded = tlv(0x04, bytes(size))
    element = only(memoryview(encoded))
    assert (element.tag, len(element.content), bytes(element.encoded)) == (0x04, size, encoded)
    assert len(element.expect(0x04, "octets")) == size
    with pytest.raises(Malformed, match="no number"):
        element.expect(0x02, "number")


def test_elements_follow_each_other() -> None:
    found = elements(memoryview(tlv(0x04, b"a") + tlv(0x02, b"b")))
    assert [(one.tag, bytes(one.content)) for one in found] == [(4, b"a"), (2, b"b")]
    assert list(elements(memoryview(b""))) == []


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("", "cut short"),
        ("04", "cut short"),
        ("0402ff", "cut short"),
        ("0481", "not DER"),
        ("048200", "not DER"),
        ("1f8101ff", "a tag of several bytes"),
        ("0480ff0000", "not DER"),
        ("048101ff", "not DER"),
        ("0482007f" + "00" * 127, "not DER"),
        ("04850000000001ff", "not DER"),
        ("04820080" + "00" * 128, "not DER"),
    ],
)
def test_what_is_not_der_is_refused(encoded: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        first(memoryview(bytes.fromhex(encoded)))


def test_nothing_may_follow_the_only_element() -> None:
    with pytest.raises(Malformed, match="bytes after the end"):
        only(memoryview(b"\x04\x00\x00"))


@pytest.mark.parametrize(
    ("encoded", "dotted"),
    [
        ("550403", "2.5.4.3"),
        ("00", "0.0"),
        ("2b0601", "1.3.6.1"),
        ("0992268993f22c640119", "0.9.2342.19200300.100.1.25"),
        ("8837", "2.999"),
        ("813403", "2.100.3"),
    ],
)
def test_an_object_identifier_is_written_with_dots(encoded: str, dotted: str) -> None:
    assert object_identifier(memoryview(bytes.fromhex(encoded))) == dotted


@pytest.mark.parametrize("encoded", ["", "80", "5580", "558001", "55" * 65, "ff"])
def test_an_object_identifier_is_minimal_and_whole(encoded: str) -> None:
    with pytest.raises(Malformed, match="no object identifier"):
        object_identifier(memoryview(bytes.fromhex(encoded)))
