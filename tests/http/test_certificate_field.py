"""The client certificate in a header field: what each proxy sends is read, what is written is read back, and whatever
else comes is refused: never another's certificate, never a guess.
"""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.certificate_field import (
    LONGEST,
    LONGEST_CHAIN,
    CertificateFieldMalformed,
    CertificateFormat,
    FieldCertificates,
    emit,
    parse,
)
from tests.support.pki import Pki

XFCC, RFC9440 = CertificateFormat.XFCC, CertificateFormat.RFC9440
URLENCODED, ONE_LINE = CertificateFormat.PEM_URLENCODED, CertificateFormat.PEM_ONE_LINE
BASE64 = CertificateFormat.DER_BASE64
NAMES = 'Subject="CN=a\\, \\"b\\",O=c=d;e";URI=spiffe://x/y;DNS=a.example;DNS=b.example'
CHAINED = (RFC9440, XFCC, URLENCODED, ONE_LINE)


def der(content: bytes) -> bytes:
    """A DER sequence with any content."""
    size = len(content)
    if size < 0x80:
        return b"\x30" + bytes((size,)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return b"\x30" + bytes((0x80 | len(length),)) + length + content


def pem(data: bytes, line_end: str = "\n") -> str:
    text = b64encode(data).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return line_end.join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


@given(
    st.sampled_from(CHAINED),
    st.binary(max_size=400),
    st.lists(st.binary(max_size=300), max_size=LONGEST_CHAIN),
)
def test_what_is_written_is_read_back(form: CertificateFormat, leaf: bytes, chain: list[bytes]) -> None:
    given_ = FieldCertificates(der(leaf), tuple(map(der, chain)))
    value, chain_value = emit(form, given_)
    assert parse(form, [value], [chain_value] if chain_value else []) == given_
    assert value.isascii()
    assert value.strip() == value
    assert b"\n" not in value + chain_value


@given(st.binary(max_size=400))
def test_base64_alone_is_read_back_without_a_chain(leaf: bytes) -> None:
    value, chain_value = emit(BASE64, FieldCertificates(der(leaf), (der(b""),)))
    assert (parse(BASE64, [value]), chain_value) == (FieldCertificates(der(leaf)), b"")


@pytest.mark.parametrize("form", CertificateFormat)
def test_no_field_and_an_empty_one_are_no_certificate(form: CertificateFormat) -> None:
    assert parse(form, []) is None
    assert parse(form, [b""]) is None
    assert parse(form, [b" \t"]) is None


def vendors(pki: Pki) -> dict[str, tuple[CertificateFormat, str, Sequence[bytes]]]:
    """What each proxy writes, by its documentation."""
    leaf, authority = pki.client.der, pki.client_authority.der
    text = b64encode(leaf).decode()
    digest = sha256(leaf).hexdigest()
    both = pem(leaf) + pem(authority)
    return {
        "RFC 9440, Cloudflare, Google": (RFC9440, f":{text}:", [leaf]),
        "nginx: $ssl_client_escaped_cert": (URLENCODED, quote(pem(leaf), safe=""), [leaf]),
        "AWS ALB, verify": (URLENCODED, quote(pem(leaf), safe="+=/"), [leaf]),
        "AWS ALB, passthrough": (URLENCODED, quote(both, safe="+=/"), [leaf, authority]),
        "Apache: SSL_CLIENT_CERT": (ONE_LINE, pem(leaf, " "), [leaf]),
        "HAProxy: ssl_c_der,base64": (BASE64, text, [leaf]),
        "Traefik": (BASE64, text, [leaf]),
        "Envoy: cert": (XFCC, f'Hash={digest};Cert="{quote(pem(leaf), safe="")}"', [leaf]),
        "Envoy: all": (
            XFCC,
            f'By=spiffe://a/b;Hash={digest};Cert="{quote(pem(leaf), safe="")}";Chain="{quote(both, safe="")}";{NAMES}',
            [leaf, authority],
        ),
    }


VENDORS = (
    "RFC 9440, Cloudflare, Google", "nginx: $ssl_client_escaped_cert", "AWS ALB, verify", "AWS ALB, passthrough",
    "Apache: SSL_CLIENT_CERT", "HAProxy: ssl_c_der,base64", "Traefik", "Envoy: cert", "Envoy: all",
)  # fmt: skip


@pytest.mark.parametrize("name", VENDORS)
def test_what_a_proxy_sends_is_read(name: str, pki: Pki) -> None:
    form, value, expected = vendors(pki)[name]
    found = parse(form, [value.encode()])
    assert found == FieldCertificates(expected[0], tuple(expected[1:]))
    assert found.leaf == pki.client.der


@pytest.mark.parametrize("name", VENDORS)
def test_one_format_is_never_taken_for_another_and_the_right_one_is_named(name: str, pki: Pki) -> None:
    right, value, _ = vendors(pki)[name]
    for form in CertificateFormat:
        if form is not right:
            with pytest.raises(CertificateFieldMalformed, match=f"`format: {right.value}`"):
                parse(form, [value.encode()])


def test_chain_of_rfc_9440_may_come_in_several_lines(pki: Pki) -> None:
    leaf, one, two = (
        f":{b64encode(each.der).decode()}:".encode() for each in (pki.client, pki.server, pki.other_client)
    )
    expected = FieldCertificates(pki.client.der, (pki.server.der, pki.other_client.der))
    assert parse(RFC9440, [leaf], [one, two]) == expected
    assert parse(RFC9440, [leaf], [one + b" ,\t" + two]) == expected
    assert parse(RFC9440, [leaf], [b""]) == FieldCertificates(pki.client.der)


LEAF, OTHER = der(b"the client's" * 20), der(b"another's" * 20)
TEXT = b64encode(LEAF).decode()
CERT = quote(pem(LEAF), safe="")
EVIL = quote(pem(OTHER), safe="")
HOSTILE: dict[str, tuple[CertificateFormat, list[str]]] = {
    # two of them
    "two lines": (RFC9440, [f":{TEXT}:", f":{TEXT}:"]),
    "two lines, one empty": (BASE64, [TEXT, ""]),
    "two values": (RFC9440, [f":{TEXT}:, :{TEXT}:"]),
    "two values of base64": (BASE64, [f"{TEXT},{TEXT}"]),
    "two elements": (XFCC, [f'Cert="{CERT}",Cert="{EVIL}"']),
    "two Cert=": (XFCC, [f'Cert="{CERT}";Cert="{EVIL}"']),
    "two Cert= of different case": (XFCC, [f'Cert="{CERT}";cert="{EVIL}"']),
    "two certificates in Cert=": (XFCC, [f'Cert="{quote(pem(LEAF) + pem(OTHER), safe="")}"']),
    # names that the client chose
    "a subject that ends its quotes": (XFCC, [f'Hash=00;Subject="CN=a";Cert="{EVIL}"']),
    "a subject that goes on": (XFCC, [f'Subject="";Cert="{EVIL}";X="",Cert="{CERT}"']),
    "a SAN with a certificate": (XFCC, [f'URI=spiffe://a;Cert="{EVIL}"']),
    "a DNS name with a certificate": (XFCC, [f'DNS=a;Cert="{EVIL}"']),
    "another's certificate behind a hash": (XFCC, [f'Hash={sha256(LEAF).hexdigest()};Cert="{EVIL}"']),
    "uneven quotes": (XFCC, [f'Subject="CN="a"";Cert="{CERT}"']),
    "an open quote": (XFCC, [f'Cert="{CERT}']),
    "an escaped end": (XFCC, [f'Cert="{CERT}\\"']),
    "a chain of another": (XFCC, [f'Cert="{CERT}";Chain="{EVIL}"']),
    "a chain alone": (XFCC, [f'Chain="{CERT}"']),
    "a hash alone": (XFCC, [f"Hash={sha256(LEAF).hexdigest()}"]),
    "a subject alone": (XFCC, ['Subject="CN=admin"']),
    "spaces around a key": (XFCC, [f'Hash=00; Cert="{CERT}"']),
    "nothing behind ;": (XFCC, [f'Cert="{CERT}";']),
    "a value that is not quoted whole": (XFCC, [f'Cert="{CERT}"x']),
    # percent-encoding
    "encoded twice": (URLENCODED, [quote(CERT, safe="")]),
    "plus for space": (URLENCODED, [CERT.replace("%20", "+")]),
    "not encoded": (URLENCODED, [pem(LEAF, " ")]),
    "broken escapes": (URLENCODED, [CERT.replace("%20", "%2")]),
    "a NUL in it": (URLENCODED, [CERT + "%00"]),
    "a NUL between": (URLENCODED, [CERT.replace("%0A", "%00", 1)]),
    "a percent in it": (URLENCODED, [CERT.replace("%0A", "%25", 1)]),
    "a space in it": (URLENCODED, [CERT + " x"]),
    # PEM
    "text before": (URLENCODED, ["x%0A" + CERT]),
    "text behind": (URLENCODED, [CERT + "x"]),
    "text between": (URLENCODED, [CERT + "subject%0A" + CERT]),
    "an empty line": (URLENCODED, [CERT.replace("%0A", "%0A%0A", 1)]),
    "headers inside": (URLENCODED, [CERT.replace("%0A", "%0AProc-Type%3A%204%0A", 1)]),
    "another kind of PEM": (URLENCODED, [CERT.replace("CERTIFICATE", "PRIVATE%20KEY")]),
    "a trusted certificate": (URLENCODED, [CERT.replace("CERTIFICATE", "TRUSTED%20CERTIFICATE")]),
    "no body": (ONE_LINE, ["-----BEGIN CERTIFICATE----- -----END CERTIFICATE-----"]),
    "no first line": (ONE_LINE, [pem(LEAF, " ").removeprefix("-----BEGIN CERTIFICATE----- ")]),
    "no last line": (ONE_LINE, [pem(LEAF, " ").replace(" -----END CERTIFICATE----- ", "")]),
    "no line ends": (ONE_LINE, [pem(LEAF, "")]),
    "two spaces": (ONE_LINE, [pem(LEAF, "  ")]),
    "tabs": (ONE_LINE, [pem(LEAF, "\t")]),
    "folded": (ONE_LINE, [pem(LEAF, "\r\n ")]),
    "no space between": (ONE_LINE, [pem(LEAF, " ").rstrip() + pem(LEAF, " ")]),
    # base64 and DER
    "a space for a plus": (BASE64, [TEXT[:10] + " " + TEXT[11:]]),
    "base64url": (BASE64, [b64encode(der(b"\xff" * 200)).decode().replace("/", "_")]),
    "no padding": (BASE64, ["MAJhYg"]),
    "bits in the padding": (BASE64, [b64encode(der(b"ab")).decode().replace("Yg==", "Yh==")]),
    "padding inside": (BASE64, [f"{b64encode(der(b'ab')).decode()}{TEXT}"]),
    "cut off": (BASE64, [TEXT[:80]]),
    "something behind it": (BASE64, [b64encode(LEAF + b"\0").decode()]),
    "two certificates in one": (BASE64, [b64encode(LEAF + OTHER).decode()]),
    "no sequence": (BASE64, [b64encode(b"\x31" + LEAF[1:]).decode()]),
    "an indefinite length": (BASE64, [b64encode(b"\x30\x80ab\0\0").decode()]),
    "a length that is too long": (BASE64, [b64encode(b"\x30\x81\x02ab").decode()]),
    "a length with a zero": (BASE64, [b64encode(b"\x30\x82\x00\x80" + b"a" * 128).decode()]),
    "a length of five bytes": (BASE64, [b64encode(b"\x30\x85\0\0\0\0\x02ab").decode()]),
    "a length that is not there": (BASE64, [b64encode(b"\x30\x82").decode()]),
    "one byte": (BASE64, [b64encode(b"\x30").decode()]),
    "not base64 at all": (BASE64, ["é" * 20]),
    # RFC 8941
    "no colons": (RFC9440, [TEXT]),
    "one colon": (RFC9440, [":"]),
    "empty": (RFC9440, ["::"]),
    "a string": (RFC9440, [f'"{TEXT}"']),
    "a token": (RFC9440, [f"*{TEXT}*"]),
    "an inner list": (RFC9440, [f"(:{TEXT}:)"]),
    "a parameter": (RFC9440, [f":{TEXT}:;a=1"]),
    "spaces inside": (RFC9440, [f": {TEXT} :"]),
    # size
    "64 KiB": (BASE64, ["M" * 65536]),
    "one byte too many": (URLENCODED, [CERT + "%0A" * ((LONGEST - len(CERT)) // 3 + 1)]),
    "too long a chain": (URLENCODED, [quote(pem(der(b"a")) * (LONGEST_CHAIN + 2), safe="")]),
    "Apache's word elsewhere": (BASE64, ["(null)"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_field_is_refused_and_nothing_of_it_is_told(name: str) -> None:
    form, values = HOSTILE[name]
    with pytest.raises(CertificateFieldMalformed) as refused:
        parse(form, [value.encode() for value in values])
    said = str(refused.value)
    assert said
    assert len(said) < 250
    assert TEXT[:12] not in said


@pytest.mark.parametrize(
    ("form", "value", "sentence"),
    [
        (RFC9440, CERT, "percent-encoded PEM, as nginx and AWS send"),
        (URLENCODED, CERT.replace("%20", "+"), "`+` for spaces"),
        (URLENCODED, quote(CERT, safe=""), "encoded twice"),
        (RFC9440, sha256(LEAF).hexdigest(), "a hash alone"),
        (RFC9440, sha256(LEAF).hexdigest().upper(), "a hash alone"),
        (BASE64, "MIIB" + "a" * 60 + " " + "b" * 60, "`+` was decoded as a space"),
        (BASE64, "MIIBaaaa,MIIBbbbb", "several certificates"),
        (ONE_LINE, pem(LEAF, ""), "without its line ends"),
        (XFCC, "Hash=" + "0" * 64, "a hash or a subject is not the certificate"),
        (BASE64, "Hash=" + "0" * 64, "`format: xfcc`"),
        (URLENCODED, CERT[: len(CERT) // 2], "cut off, perhaps at a limit"),
    ],
)
def test_likely_mistake_is_named(form: CertificateFormat, value: str, sentence: str) -> None:
    with pytest.raises(CertificateFieldMalformed) as refused:
        parse(form, [value.encode()])
    assert sentence in str(refused.value)


def test_field_of_the_chain_belongs_to_rfc_9440_and_to_a_certificate() -> None:
    sequence = f":{TEXT}:".encode()
    with pytest.raises(CertificateFieldMalformed, match="no field for the chain"):
        parse(BASE64, [TEXT.encode()], [sequence])
    with pytest.raises(CertificateFieldMalformed, match="without a certificate"):
        parse(RFC9440, [], [sequence])
    for chain in (
        [b":x:"],
        [b","],
        [sequence + b",,"],
        [b":" * (LONGEST + 1)],
        [sequence] * (LONGEST_CHAIN + 1),
    ):
        with pytest.raises(CertificateFieldMalformed):
            parse(RFC9440, [sequence], chain)


@given(st.sampled_from(list(CertificateFormat)), st.binary(max_size=300))
def test_any_bytes_are_a_certificate_none_or_refused(form: CertificateFormat, value: bytes) -> None:
    try:
        found = parse(form, [value])
    except CertificateFieldMalformed:
        return
    assert found is None or found.leaf[0] == 0x30


@given(st.sampled_from(list(CertificateFormat)), st.integers(0, 2000), st.integers(0, 255))
def test_a_byte_that_changes_never_makes_two_readings(form: CertificateFormat, at: int, byte: int) -> None:
    """What is accepted after a change is written back as what came: it has one spelling."""
    value = bytearray(emit(form, FieldCertificates(LEAF))[0])
    value[at % len(value)] = byte
    try:
        found = parse(form, [bytes(value)])
    except CertificateFieldMalformed:
        return
    if found is not None and form in (RFC9440, BASE64):
        assert emit(form, found)[0] == bytes(value).strip(b" \t")
