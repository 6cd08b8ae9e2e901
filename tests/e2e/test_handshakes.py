"""What a client certificate is worth, from the configuration file to the answer: whose token it confirms, what a
refused one is told (as `openssl s_client` prints it), and what a resumed session carries."""

import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.mint import SigningKey
from tests.support.pki import Identity, Pki, Profile, make_key, self_signed
from tests.support.processes import eventually, free_port
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, listener, policy
from tests.support.tls_client import TLS12, TLS13, Wire, client_context

VERSIONS = [TLS12, TLS13]
PUBLIC = b"GET /public/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Doors:
    """The ports of one sidecar: any certificate passes, a CA's only, one is insisted on."""

    sidecar: Sidecar
    pki: Pki
    revoked: Identity
    any: int
    ca: int
    insisting: int


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Doors]:
    folder, revoked = tmp_path_factory.mktemp("doors"), pki.client_authority.issue(Profile("revoked"))
    ports = [free_port() for _ in range(3)]
    listeners = [
        listener(ports[0]),
        listener(ports[1], trust="ca", crl_file="tls/client.crl"),
        listener(ports[2], trust="ca", at_handshake="required"),
    ]
    with Recorder() as recorder:
        narrow = {
            "name": "narrow",
            "match": {"path": "/narrow"},
            "require": {"tls": {"minimum_version": "1.3", "groups": ["P-384", "P-256"]}},
        }
        sidecar = Sidecar(
            folder,
            pki,
            recorder.url,
            policy_document=policy([narrow, *policy()["rules"]]),
            keys=[signing_key],
            service={"listeners": listeners},
        )
        (folder / "tls" / "client.crl").write_bytes(pki.client_authority.revocation_list(revoked))
        with sidecar:
            yield Doors(sidecar, pki, revoked, *ports)


def s_client(folder: Path, port: int, identity: Identity | None, *arguments: str) -> str:
    """What `openssl s_client` prints while it sends one request for a public path."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-ign_eof"]
    command += arguments
    if identity is not None:
        files = identity.write(folder, "s_client")
        command += ["-cert", str(files.certificate), "-key", str(files.private_key)]
    done = subprocess.run(command, input=PUBLIC, capture_output=True, timeout=60, check=False)
    return (done.stdout + done.stderr).decode("latin-1")


def status(port: int, identity: Identity, token: str, version: ssl.TLSVersion = TLS13) -> int:
    """The status of a request with that token on a new connection."""
    with Wire.tls(port, context=client_context(identity, minimum=version, maximum=version)) as wire:
        return wire.request(target="/accounts/1", token=token).status


@pytest.mark.field_cases
@pytest.mark.parametrize(
    ("tls", "expected"),
    [((TLS13, "secp384r1"), 200), ((TLS13, "secp521r1"), 403), ((TLS12, "prime256v1"), 403)],
)
def test_rule_asks_for_the_tls_of_the_client(
    doors: Doors, pki: Pki, signing_key: SigningKey, tls: tuple[ssl.TLSVersion, str], expected: int
) -> None:
    version, curve = tls
    context = client_context(pki.client, minimum=version, maximum=version)
    context.set_ecdh_curve(curve)
    token = signing_key.token(pki.client)
    with Wire.tls(doors.any, context=context) as wire:
        assert wire.request(target="/accounts/1", token=token).status == 200
        answer = wire.request(target="/narrow", token=token)
    assert answer.status == expected
    assert expected == 200 or answer.json()["reason"] == "condition_failed"


# -- trust: any: possession is what counts (RFC 8705 §6.2) ----------------------------------------


@pytest.fixture(params=["self-signed", "expired", "not yet valid", "unknown CA", "server certificate", "RSA"])
def odd_client(request: pytest.FixtureRequest, pki: Pki) -> Identity:
    """Certificates that no chain check would let pass, and one of another kind of key."""
    authority = pki.client_authority
    identities: dict[str, Callable[[], Identity]] = {
        "self-signed": lambda: pki.self_signed_client,
        "expired": authority.expired,
        "not yet valid": authority.not_yet_valid,
        "unknown CA": lambda: pki.stranger,
        "server certificate": lambda: authority.issue(Profile(usages=(ExtendedKeyUsageOID.SERVER_AUTH,))),
        "RSA": lambda: self_signed(key=make_key("RSA-2048")),
    }
    return identities[request.param]()


@pytest.mark.parametrize("version", VERSIONS)
def test_any_certificate_the_client_holds_the_key_of_confirms_its_token(
    doors: Doors, signing_key: SigningKey, odd_client: Identity, version: ssl.TLSVersion
) -> None:
    assert status(doors.any, odd_client, signing_key.token(odd_client), version) == 200


@pytest.mark.parametrize("version", VERSIONS)
def test_resumed_session_carries_the_certificate_of_the_first(
    doors: Doors, pki: Pki, signing_key: SigningKey, version: ssl.TLSVersion
) -> None:
    context = client_context(pki.client, minimum=version, maximum=version)
    token = signing_key.token(pki.client)
    with Wire.tls(doors.any, context=context) as first:
        assert first.request(target="/accounts/1", token=token).status == 200
        session = first.session
    with Wire.tls(doors.any, context=context, session=session) as second:
        assert second.request(target="/accounts/1", token=token).status == 200
        assert second.secure.session_reused
        stranger = signing_key.token(pki.other_client)
        assert second.request(target="/accounts/1", token=stranger).json()["reason"] == "binding_mismatch"


@pytest.mark.parametrize("version", VERSIONS)
def test_session_of_one_listener_is_not_resumed_at_another(
    doors: Doors, pki: Pki, version: ssl.TLSVersion
) -> None:
    """A session begun where any certificate will do must not open the door that checks the chain."""
    context = client_context(pki.self_signed_client, minimum=version, maximum=version)
    with Wire.tls(doors.any, context=context) as first:
        assert first.request(target="/public/x").status == 200
        session = first.session
    with (
        pytest.raises((ssl.SSLError, ConnectionError)),  # the whole handshake again, and its check
        Wire.tls(doors.ca, context=context, session=session) as second,
    ):
        second.request(target="/public/x")


# -- trust: ca -------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
def test_client_of_the_authority_passes_and_one_without_certificate_too(
    doors: Doors, pki: Pki, tmp_path: Path, flag: str
) -> None:
    assert "HTTP/1.1 200" in s_client(tmp_path, doors.ca, pki.client, flag)
    assert "HTTP/1.1 200" in s_client(tmp_path, doors.ca, None, flag)


def test_client_below_an_intermediate_authority_passes(
    doors: Doors, pki: Pki, signing_key: SigningKey
) -> None:
    client = pki.client_authority.intermediate().issue()
    assert status(doors.insisting, client, signing_key.token(client)) == 200


@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    ("kind", "alert"),
    [
        ("unknown CA", "unknown ca"),
        ("expired", "certificate expired"),
        ("revoked", "certificate revoked"),
    ],
)
def test_refused_certificate_is_told_why_in_an_alert(
    doors: Doors, tmp_path: Path, kind: str, alert: str, flag: str
) -> None:
    pki, authority = doors.pki, doors.pki.client_authority
    identities = {
        "unknown CA": pki.stranger,
        "expired": authority.expired(),
        "revoked": doors.revoked,
    }
    said = s_client(tmp_path, doors.ca, identities[kind], flag)
    assert f"alert {alert}" in said
    assert "HTTP/1.1" not in said


def test_reason_of_a_refused_handshake_is_in_the_log(doors: Doors, tmp_path: Path) -> None:
    s_client(tmp_path, doors.insisting, None)
    reason = "peer did not return a certificate"
    eventually(lambda: any(record.get("detail") == reason for record in doors.sidecar.records()))
