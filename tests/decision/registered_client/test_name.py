import pytest

from sidecar.decision.canonical_name import MalformedName
from sidecar.decision.client_certificate import ClientCertificate
from sidecar.decision.denial import Denied, Reason
from sidecar.decision.registered_client.name import NameKind, names_of, nobody, registered_name
from tests.support.odd_certificates import CLIENT_AUTH, OddCertificate, alternative_names, tlv
from tests.support.pki import Profile, self_signed, subject_alternative_names

CERTIFICATE = self_signed(
    Profile(
        organization="Bank",
        names=tuple(
            subject_alternative_names(
                ["TPP.example", "*.wild.example"],
                ["https://tpp.example/id"],
                ["Api@TPP.example"],
                ["192.0.2.1", "2001:db8::1"],
            )
        ),
    )
).presented
NAMELESS = self_signed().presented


def matches(kind: str, text: str, certificate: ClientCertificate = CERTIFICATE) -> str:
    return registered_name(NameKind(kind), text).match(certificate)


@pytest.mark.parametrize(
    ("kind", "text", "matched"),
    [
        ("subject_dn", "cn=CLIENT, o=bank", "subject_dn=CN=client,O=Bank"),
        ("san_dns", "tpp.EXAMPLE", "san_dns=TPP.example"),
        ("san_uri", "https://tpp.example/id", "san_uri=https://tpp.example/id"),
        ("san_email", "Api@tpp.example", "san_email=Api@TPP.example"),
        ("san_ip", "192.0.2.1", "san_ip=192.0.2.1"),
        ("san_ip", "2001:0DB8:0::0001", "san_ip=2001:db8::1"),
    ],
)
def test_certificate_has_the_name(kind: str, text: str, matched: str) -> None:
    assert matches(kind, text) == matched


@pytest.mark.parametrize(
    ("kind", "text", "shown"),
    [
        ("subject_dn", "O=Bank,CN=client", "CN=client,O=Bank"),
        ("san_dns", "tpp.example.com", "TPP.example, *.wild.example"),
        ("san_dns", "a.wild.example", "TPP.example, *.wild.example"),
        ("san_uri", "https://TPP.example/id", "https://tpp.example/id"),
        ("san_uri", "https://tpp.example/id/", "https://tpp.example/id"),
        ("san_email", "api@tpp.example", "Api@TPP.example"),
        ("san_ip", "::ffff:192.0.2.1", "192.0.2.1, 2001:db8::1"),
        ("san_ip", "192.0.2.2", "192.0.2.1, 2001:db8::1"),
    ],
)
def test_certificate_of_another_name_is_refused_and_its_names_are_shown(
    kind: str, text: str, shown: str
) -> None:
    with pytest.raises(Denied) as caught:
        matches(kind, text)
    assert caught.value.reason is Reason.CLIENT_CERTIFICATE_MISMATCH
    failure = caught.value.failure
    assert (failure.check, failure.expected, failure.presented) == (
        f"client_authentication.{kind}",
        text,
        shown,
    )


@pytest.mark.parametrize("kind", ["san_dns", "san_uri", "san_ip", "san_email"])
def test_certificate_without_names_has_none(kind: str) -> None:
    text = {"san_uri": "https://a", "san_ip": "192.0.2.1", "san_email": "a@b"}.get(kind, "client")
    with pytest.raises(Denied) as caught:
        matches(kind, text, NAMELESS)
    assert caught.value.failure.presented == "none"


def test_name_in_the_common_name_is_no_alternative_name() -> None:
    with pytest.raises(Denied):
        matches("san_dns", "client", NAMELESS)


def test_name_before_a_nul_is_not_the_name() -> None:
    """RFC 8705 §7.5."""
    names = alternative_names(tlv(0x82, b"tpp.example\0.evil.example"))
    odd = OddCertificate(extensions=(CLIENT_AUTH, names)).presented
    with pytest.raises(Denied) as caught:
        matches("san_dns", "tpp.example", odd)
    assert caught.value.failure.presented.startswith("unreadable (a control character in a name)")


def test_subject_that_cannot_be_read_is_nobodys() -> None:
    odd = OddCertificate(subject=tlv(0x30)).presented
    with pytest.raises(Denied) as caught:
        matches("subject_dn", "CN=client", odd)
    assert caught.value.failure.presented == "unreadable (an empty name): #3000"


def test_only_some_of_many_names_are_shown() -> None:
    many = self_signed(Profile(names=tuple(subject_alternative_names([f"a{n}.example" for n in range(9)]))))
    with pytest.raises(Denied) as caught:
        matches("san_dns", "b.example", many.presented)
    shown = caught.value.failure.presented
    assert shown == "a0.example, a1.example, a2.example, a3.example, and 5 more"


@pytest.mark.parametrize("certificate", [CERTIFICATE, NAMELESS, OddCertificate(subject=tlv(0x30)).presented])
def test_nobody_has_no_certificate(certificate: ClientCertificate) -> None:
    with pytest.raises(Denied):
        nobody().match(certificate)


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("san_dns", "*.example", "a wildcard"),
        ("san_ip", "192.0.2.*", "a wildcard"),
        ("san_email", "*@tpp.example", "a wildcard"),
        ("san_dns", "tpp.example.", "expected a DNS name"),
        ("san_dns", "a" * 64, "expected a DNS name"),
        ("san_dns", ".".join(["a" * 60] * 5), "expected a DNS name"),
        ("san_dns", "tpp\u0430.example", "expected a DNS name"),
        ("san_uri", "https://tpp.example/ä", "expected a URI"),
        ("san_uri", "tpp.example", "expected a URI"),
        ("san_ip", "192.0.2.01", "expected one IP address"),
        ("san_ip", "192.0.2.0/24", "expected one IP address"),
        ("san_ip", "fe80::1%1", "expected one IP address"),
        ("san_email", "tpp.example", "expected a mailbox"),
        ("san_email", "a b@tpp.example", "expected a mailbox"),
        ("subject_dn", "CN", "expected an attribute and its value"),
    ],
)
def test_name_that_is_none_cannot_be_registered(kind: str, text: str, why: str) -> None:
    with pytest.raises(MalformedName) as caught:
        registered_name(NameKind(kind), text)
    assert why in str(caught.value)


def test_asterisk_in_a_uri_or_a_subject_is_a_character_like_any() -> None:
    assert registered_name(NameKind.SAN_URI, "urn:a:*").value == "urn:a:*"
    assert registered_name(NameKind.SUBJECT_DN, "CN=*.tpp.example").value == (
        (("2.5.4.3", b"~*.tpp.example"),),
    )


def test_names_of_a_certificate_are_what_registered_names_are_compared_with() -> None:
    names = [("subject_dn", "cn=CLIENT,o=bank"), ("san_dns", "tpp.EXAMPLE"), ("san_uri", "https://tpp.example/id"),
             ("san_email", "Api@TPP.example"), ("san_ip", "192.0.2.1"), ("san_ip", "2001:db8::1")]  # fmt: skip
    found = {(NameKind(kind), registered_name(NameKind(kind), text).value) for kind, text in names}
    assert names_of(CERTIFICATE) == found | {(NameKind.SAN_DNS, "*.wild.example")}


def test_names_that_cannot_be_read_are_none() -> None:
    certificate = OddCertificate(
        extensions=(alternative_names(tlv(0x82, b"tpp.example\0.evil")),), subject=b"\x30\x00"
    ).presented
    assert names_of(certificate) == frozenset()
