"""Whom `trust: ca` accepts: authorities as partners bring them, anchors that are no roots, purposes."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sidecar.proxy.configuration import CLIENT_AUTH, SERVER_AUTH, TlsSettings, Trust
from sidecar.proxy.tls import ServerTls
from sidecar.proxy.tls.authorities import read_authorities
from tests.proxy.test_revocation import World, asks, refusal
from tests.support.live_server import LiveServer, tls_settings
from tests.support.pki import (
    DAY,
    Identity,
    Pki,
    Profile,
    certificate_der,
    certificate_pem,
    self_signed,
    utc_now,
)

pytestmark = pytest.mark.field_cases

EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string


def trusting(folder: Path, pki: Pki, *authorities: x509.Certificate, **changes: object) -> TlsSettings:
    given = tls_settings(folder, pki, trust=Trust.CA, **changes)
    assert given.ca_file is not None
    given.ca_file.write_bytes(b"".join(map(certificate_pem, authorities)))
    return given


def sent(identity: Identity) -> list[bytes]:
    return [certificate_der(each) for each in (identity.certificate, *identity.chain)]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_issuing_authority_is_an_anchor_only_when_asked(tmp_path: Path, pki: Pki, world: World) -> None:
    anchor = world.issuing.certificate
    with LiveServer(trusting(tmp_path, pki, anchor)) as server:
        assert refusal(server, world.client) == "unable to get issuer certificate"
    settings = trusting(tmp_path, pki, anchor, partial_chain=True)
    with LiveServer(settings) as server:
        assert asks(server, world.client) == 401
        assert refusal(server, world.policy.issue()) == "unable to get local issuer certificate"
    assert ServerTls(settings, "main").accepts(sent(world.client))
    assert not ServerTls(settings, "main").accepts(sent(world.policy.issue()))


def test_anchor_must_be_an_authority(tmp_path: Path, pki: Pki, world: World) -> None:
    with pytest.raises(ValueError, match="no authority"):
        ServerTls(trusting(tmp_path, pki, world.client.certificate, partial_chain=True), "main")


@pytest.mark.parametrize("revoked", ["nobody", "the client", "the anchor"])
def test_anchor_that_is_no_root_needs_no_list_but_obeys_one(
    tmp_path: Path, pki: Pki, world: World, revoked: str
) -> None:
    crl = world.lists(
        issuing=world.client if revoked == "the client" else None,
        policy=world.issuing if revoked == "the anchor" else None,
    )
    (tmp_path / "crl").write_bytes(crl)
    settings = trusting(
        tmp_path, pki, world.issuing.certificate, partial_chain=True, crl_file=tmp_path / "crl"
    )
    with LiveServer(settings) as server:
        if revoked == "nobody":
            assert asks(server, world.client) == 401
            assert "crl_missing" not in [name for name, _ in server.observed.incidents]
        else:
            expected = (
                "certificate revoked" if revoked == "the client" else "unable to get local issuer certificate"
            )
            assert refusal(server, world.client) == expected
    assert ServerTls(settings, "main").accepts(sent(world.client)) is (revoked == "nobody")


# --- purposes (RFC 5280 §4.2.1.12)

SERVER, MAIL = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION
PURPOSES: Mapping[str, tuple[x509.ObjectIdentifier, ...] | None] = {
    "client": (ExtendedKeyUsageOID.CLIENT_AUTH,),
    "server": (SERVER,),
    "mail and server": (MAIL, SERVER),
    "mail": (MAIL,),
    "none named": None,
}
ACCEPTED: Mapping[str, tuple[frozenset[str], set[str]]] = {
    "the default": (frozenset({CLIENT_AUTH}), {"client", "none named"}),
    "either": (frozenset({CLIENT_AUTH, SERVER_AUTH}), {"client", "server", "mail and server", "none named"}),
    "servers only": (frozenset({SERVER_AUTH}), {"server", "mail and server", "none named"}),
    "an identifier": (frozenset({EMAIL}), {"mail", "mail and server", "none named"}),
    "any": (frozenset(), set(PURPOSES)),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_certificate_is_for_one_of_the_purposes_or_names_none(
    tmp_path: Path, pki: Pki, world: World, kind: str
) -> None:
    purposes, accepted = ACCEPTED[kind]
    settings = trusting(tmp_path, pki, world.root.certificate, extended_key_usage=purposes)
    tls = ServerTls(settings, "main")
    with LiveServer(settings) as server:
        for name, usages in PURPOSES.items():
            client = world.root.issue(Profile(usages=usages))
            if name in accepted:
                assert asks(server, client) == 401, name
            else:
                assert refusal(server, client) == "unsuitable certificate purpose", name
            assert tls.accepts(sent(client)) is (name in accepted), name


# --- files as they are

BROKEN = b"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----\n"


def test_authority_that_is_broken_takes_no_other_with_it(tmp_path: Path, pki: Pki, world: World) -> None:
    good = certificate_pem(world.root.certificate)
    settings = trusting(tmp_path, pki)
    assert settings.ca_file is not None
    settings.ca_file.write_bytes(b"# one\n" + good + BROKEN + good + b"-----BEGIN CERTIFICATE-----\nMII")
    broken = read_authorities(settings.ca_file.read_bytes()).broken
    lines = settings.ca_file.read_bytes().splitlines()
    assert [lines[number - 1] for number in broken] == [b"-----BEGIN CERTIFICATE-----"] * 2
    with LiveServer(settings) as server:
        assert asks(server, world.direct) == 401
    settings.ca_file.write_bytes(BROKEN)
    with pytest.raises(ValueError, match="no PEM certificate"):
        ServerTls(settings, "main")


@pytest.fixture(scope="module")
def many() -> list[x509.Certificate]:
    """900 authorities, of one key: only their names matter."""
    key = ec.generate_private_key(ec.SECP256R1())

    def made(number: int) -> x509.Certificate:
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A Bank with a name of some length"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"Authority for clients number {number}"),
            ]
        )
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(number + 1)
            .not_valid_before(utc_now())
            .not_valid_after(utc_now() + 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, SHA256())
        )

    return [made(number) for number in range(900)]


def test_nine_hundred_authorities_are_trusted_and_not_named_in_the_handshake(
    tmp_path: Path, pki: Pki, world: World, many: list[x509.Certificate]
) -> None:
    with LiveServer(trusting(tmp_path, pki, *many, world.root.certificate)) as server:
        assert asks(server, world.direct) == 401
        assert refusal(server, self_signed()) == "self-signed certificate"


@pytest.mark.parametrize("count", [1, 3])
def test_few_authorities_are_named_so_that_a_client_can_choose(
    tmp_path: Path, pki: Pki, many: list[x509.Certificate], count: int
) -> None:
    from tests.support.tls_pair import Pair

    pair = Pair(ServerTls(trusting(tmp_path, pki, *many[:count]), "main"))
    pair.shake_hands()
    assert len(pair.client.get_client_ca_list()) == count
