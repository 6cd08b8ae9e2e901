import tracemalloc

import pytest
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidecar.decision.client_certificate import ClientCertificate
from sidecar.decision.denial import Denied, Reason
from sidecar.decision.registered_client.fitness import check_fitness, unfitness
from tests.support.odd_certificates import OddCertificate, extension, tlv
from tests.support.pki import Profile, self_signed

BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE = "551d13", "551d25"
TRUE = tlv(0x01, b"\xff")


def odd(*extensions: bytes) -> ClientCertificate:
    return OddCertificate(extensions=extensions).presented


@pytest.mark.parametrize(
    "certificate",
    [
        self_signed().presented,
        self_signed(Profile(usages=None)).presented,
        self_signed(
            Profile(usages=(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH))
        ).presented,
        self_signed(Profile(usages=(ObjectIdentifier("2.5.29.37.0"),))).presented,
        odd(),
        odd(extension(BASIC_CONSTRAINTS, tlv(0x30))),
        odd(extension(BASIC_CONSTRAINTS, tlv(0x30, tlv(0x01, b"\0")))),
        odd(extension(BASIC_CONSTRAINTS, tlv(0x30, tlv(0x02, b"\0")))),
    ],
)
def test_certificate_of_a_client_is_fit(certificate: ClientCertificate) -> None:
    assert unfitness(certificate) is None
    check_fitness(certificate, certificate.not_before)


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        (self_signed(Profile(is_authority=True)).presented, "an authority's certificate (CA:TRUE)"),
        (odd(extension(BASIC_CONSTRAINTS, tlv(0x30, TRUE))), "an authority's certificate (CA:TRUE)"),
        (
            odd(extension(BASIC_CONSTRAINTS, tlv(0x30, tlv(0x01, b"\1")))),
            "an authority's certificate (CA:TRUE)",
        ),
        (
            self_signed(Profile(usages=(ExtendedKeyUsageOID.SERVER_AUTH,))).presented,
            "not for the purpose clientAuth (1.3.6.1.5.5.7.3.2), but for 1.3.6.1.5.5.7.3.1",
        ),
        (odd(extension(EXTENDED_KEY_USAGE, tlv(0x30))), "not for the purpose clientAuth"),
        (odd(extension(EXTENDED_KEY_USAGE, b"\x30")), "unreadable extensions (cut short)"),
        (
            odd(extension(EXTENDED_KEY_USAGE, tlv(0x30, tlv(0x02, b"\1")))),
            "unreadable extensions (no purpose)",
        ),
        (odd(extension(BASIC_CONSTRAINTS, tlv(0x31))), "unreadable extensions (no basicConstraints)"),
        (
            odd(*[extension(BASIC_CONSTRAINTS, tlv(0x30))] * 2),
            "unreadable extensions (two extensions 2.5.29.19)",
        ),
        (ClientCertificate(b"\x30\x00", (0, 1)), "unreadable (no certificate)"),
    ],
)
def test_certificate_that_can_be_no_clients_is_unfit(certificate: ClientCertificate, why: str) -> None:
    with pytest.raises(Denied) as caught:
        check_fitness(certificate, certificate.not_before)
    assert caught.value.reason is Reason.CLIENT_CERTIFICATE_UNFIT
    assert caught.value.failure.presented.startswith(why)


def test_certificate_counts_between_its_dates() -> None:
    certificate = self_signed().presented
    check_fitness(certificate, certificate.not_after)
    for moment, said in (
        (certificate.not_before - 1, "not valid yet"),
        (certificate.not_after + 1, "expired"),
    ):
        with pytest.raises(Denied) as caught:
            check_fitness(certificate, moment)
        assert caught.value.reason is Reason.CLIENT_CERTIFICATE_EXPIRED
        assert caught.value.failure.presented == said


def test_large_certificates_of_whoever_connects_are_not_remembered() -> None:
    """Each is looked at once, whoever sends it and for whichever client."""
    tracemalloc.start()
    for at in range(1200):
        certificate = ClientCertificate(at.to_bytes(2) * 20_000, (0.0, 1.0))
        assert unfitness(certificate) == unfitness(certificate)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held <= 4 << 20
