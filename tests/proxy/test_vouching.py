"""Who may say which certificate a client has, and how long what was said is remembered."""

import hashlib
from ipaddress import ip_network
from pathlib import Path

import pytest

from sidecar.http.certificate_field import CertificateFormat, FieldCertificates, emit
from sidecar.http.message import Fault, Field
from sidecar.proxy.configuration import ToldCertificateSettings, Trust, TrustedProxy, TrustSettings
from sidecar.proxy.vouching.proxies import Peer, Proxies
from sidecar.proxy.vouching.told import Known, ToldCertificates
from tests.support.pki import (
    DAY,
    HOUR,
    Authority,
    Identity,
    Pki,
    Profile,
    certificate_pem,
    self_signed,
    utc_now,
)
from tests.support.spiffe import svid

FOREVER = float("inf")
NAME = b"client-cert"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Path]:
    made, file = Authority.root("mesh"), tmp_path_factory.mktemp("mesh") / "ca.crt"
    file.write_bytes(certificate_pem(made.certificate))
    return made, file


def peer(identity: Identity) -> Peer:
    return Peer("192.0.2.1", [identity.der])


@pytest.mark.parametrize(
    ("path", "is_known"),
    [("/ns/ingress/envoy", True), ("/ns/ingress", False), ("/ns/shop/web", False)],
)
def test_spiffe_id_counts_as_a_whole(mesh: tuple[Authority, Path], path: str, is_known: bool) -> None:
    proxies = Proxies([TrustedProxy(spiffe_id="spiffe://bank.example/ns/ingress/**", ca_file=mesh[1])])
    known = proxies.name_of(peer(svid(mesh[0], path)))
    assert known == (f"spiffe://bank.example{path}" if is_known else "")


def test_name_counts_with_its_own_authority_alone(mesh: tuple[Authority, Path], pki: Pki) -> None:
    proxies = Proxies([TrustedProxy(san_dns="client-1.example", ca_file=mesh[1])])
    assert proxies.name_of(peer(pki.client)) == "", "the clients' authority vouches for no proxy"
    names = pki.client.certificate.extensions
    forged = self_signed(Profile("client-1", names=tuple(names[4].value)))
    assert proxies.name_of(peer(forged)) == ""
    assert proxies.name_of(Peer("192.0.2.1")) == ""
    assert proxies.name_of(Peer("192.0.2.1", [b"\x30\x00"])) == ""


def test_proxy_that_is_known_by_a_name_is_known_until_its_certificate_ends(
    mesh: tuple[Authority, Path],
) -> None:
    ingress = svid(mesh[0], "/ns/ingress/envoy")
    named = TrustedProxy(spiffe_id="spiffe://bank.example/ns/ingress/envoy", ca_file=mesh[1])
    end = ingress.certificate.not_valid_after_utc.timestamp()
    assert Proxies([named]).until(peer(ingress)) == end
    near = TrustedProxy(network=ip_network("192.0.2.0/24"))
    assert Proxies([named, near]).until(peer(ingress)) == FOREVER
    pin = TrustedProxy(thumbprint=hashlib.sha256(ingress.der).digest())
    assert Proxies([pin]).until(peer(ingress)) == FOREVER


def test_mapped_address_is_the_ipv4_address_that_it_stands_for() -> None:
    proxies = Proxies([TrustedProxy(network=ip_network("192.0.2.0/24"))])
    assert proxies.name_of(Peer("::ffff:192.0.2.7")) == "::ffff:192.0.2.7"
    assert proxies.name_of(Peer("::ffff:198.51.100.7")) == ""
    assert proxies.name_of(Peer("")) == ""


def reader(trust: TrustSettings) -> ToldCertificates:
    proxies = (TrustedProxy(network=ip_network("192.0.2.0/24")),)
    return ToldCertificates(
        ToldCertificateSettings(CertificateFormat.RFC9440, "Client-Cert", "", proxies, trust)
    )


def field(identity: Identity) -> list[Field]:
    return [(NAME, emit(CertificateFormat.RFC9440, FieldCertificates(identity.der))[0])]


def test_verified_chain_is_remembered_until_its_first_certificate_or_list_ends(
    tmp_path: Path, pki: Pki
) -> None:
    authority, crl = tmp_path / "ca.crt", tmp_path / "ca.crl"
    authority.write_bytes(certificate_pem(pki.client_authority.certificate))
    crl.write_bytes(pki.client_authority.revocation_list(not_after=utc_now() + 20_000 * DAY))
    found = reader(TrustSettings(trust=Trust.CA, ca_file=authority, crl_file=crl))
    now, end = utc_now().timestamp(), pki.client.certificate.not_valid_after_utc.timestamp()
    known = found.read(field(pki.client), b"key", now)
    assert isinstance(known, Known)
    assert known.until == end
    assert found.find(b"key", end - 1) is known
    assert found.find(b"key", end) is None
    assert len(found.list_ends) == 1

    crl.write_bytes(pki.client_authority.revocation_list(not_after=utc_now() - HOUR))
    ended = reader(TrustSettings(trust=Trust.CA, ca_file=authority, crl_file=crl))
    refused = ended.read(field(pki.client), b"key", now)
    assert isinstance(refused, Fault)
    assert "CRL has expired" in refused.detail
    assert ended.find(b"key", now) is None, "a refusal is not remembered"


def test_remembered_certificates_take_a_bounded_room_and_the_oldest_go_first(
    pki: Pki,
) -> None:
    found = reader(TrustSettings())
    keys = [number.to_bytes(8) for number in range(9000)]
    for key in keys:
        assert isinstance(found.read(field(pki.client), key, 0.0), Known)
    assert found.find(keys[0], 0.0) is None
    assert found.find(keys[-1], 0.0) is not None
    kept = [key for key in keys if found.find(key, 0.0) is not None]
    assert kept == keys[-len(kept) :]
    assert len(kept) * (700 + len(pki.client.der)) <= 8 << 20
