"""What `check` calls good, `run` can serve: contexts, handshakes and key sets are made before anything is called so."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.proxy.test_client_authorities import BROKEN
from tests.support.configuration import POLICY, SERVICE, Configuration
from tests.support.pki import DAY, Authority, Pki, certificate_pem, utc_now

pytestmark = pytest.mark.field_cases

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def serve_with(configuration: Configuration, key: Key) -> None:
    """A self-signed certificate of that key, in place of the server's."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(utc_now())
        .not_valid_after(utc_now() + 365 * DAY)
        .sign(key, hashes.SHA256())
    )
    (configuration.folder / "server.crt").write_bytes(certificate_pem(certificate))
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (configuration.folder / "server.key").write_bytes(key.private_bytes(*encoding))


def messages(configuration: Configuration) -> list[str]:
    return [one.message.replace(f"{configuration.folder}/", "") for one in configuration.problems()]


KEYS: Mapping[str, tuple[Callable[[], Key], str]] = {
    "secp256k1": (
        lambda: ec.generate_private_key(ec.SECP256K1()),
        "no client can shake hands with `server.crt`: ",
    ),
    "RSA-1024": (lambda: rsa.generate_private_key(65537, 1024), "TLS cannot be set up: ee key too small"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_server_key_that_no_client_can_use_is_refused(configuration: Configuration, kind: str) -> None:
    make, begin = KEYS[kind]
    serve_with(configuration, make())
    (message,) = messages(configuration)
    assert message.startswith(begin)


@pytest.mark.parametrize("client", ["optional", "required"])
def test_server_that_insists_on_a_certificate_is_good(
    configuration: Configuration, pki: Pki, client: str
) -> None:
    (configuration.folder / "ca.crt").write_bytes(pki.client_authority.pem)
    trust(configuration, f"ca_file: ca.crt, at_handshake: {client}")
    assert messages(configuration) == []


def trust(configuration: Configuration, members: str) -> None:
    section = f"    client_certificate: {{trust: ca, {members}}}\nupstream"
    configuration.write_service(SERVICE.replace("upstream", section, 1))


def doubts(configuration: Configuration) -> list[str]:
    return [one.message.replace(f"{configuration.folder}/", "") for one in configuration.load().warnings]


def test_authority_without_its_root_is_doubted_and_one_that_is_broken_named(
    configuration: Configuration, pki: Pki
) -> None:
    issuing = Authority.root("root").intermediate("issuing")
    file = configuration.folder / "ca.crt"
    file.write_bytes(certificate_pem(issuing.certificate) + BROKEN)
    trust(configuration, "ca_file: ca.crt")
    found = doubts(configuration)
    assert any(one.startswith("`ca.crt` holds `CN=issuing`, but no root above it") for one in found)
    line = certificate_pem(issuing.certificate).count(b"\n") + 1
    assert any(one.startswith(f"`ca.crt`: line {line}: a broken certificate") for one in found)
    file.write_bytes(certificate_pem(issuing.certificate))
    trust(configuration, "ca_file: ca.crt, partial_chain: true")
    assert doubts(configuration) == []
    file.write_bytes(BROKEN)
    assert messages(configuration) == ["`ca.crt` holds no PEM certificate, or only broken ones"]


def test_anchor_of_a_partial_chain_must_be_an_authority(configuration: Configuration, pki: Pki) -> None:
    (configuration.folder / "ca.crt").write_bytes(pki.client.pem)
    trust(configuration, "ca_file: ca.crt, partial_chain: true")
    (message,) = messages(configuration)
    assert message == (
        "TLS cannot be set up: partial_chain: ca_file holds a certificate that is no authority (CA:TRUE)"
    )


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ("extended_key_usage: [server]", "`server` is not client_auth, server_auth or 1.3.6.1…"),
        ("extended_key_usage: []", "must not be empty"),
        (
            "extended_key_usage: [server_auth], insecure_any_extended_key_usage: true",
            "with `insecure_any_extended_key_usage` it has no effect",
        ),
    ],
)
def test_purposes_are_named(configuration: Configuration, pki: Pki, members: str, expected: str) -> None:
    (configuration.folder / "ca.crt").write_bytes(pki.client_authority.pem)
    trust(configuration, f"ca_file: ca.crt, {members}")
    assert messages(configuration) == [expected]


def test_purposes_reach_the_listener(configuration: Configuration, pki: Pki) -> None:
    (configuration.folder / "ca.crt").write_bytes(pki.client_authority.pem)
    trust(configuration, "ca_file: ca.crt, extended_key_usage: [client_auth, server_auth, 1.3.6.1.5.5.7.3.4]")
    numbers = {f"1.3.6.1.5.5.7.3.{number}" for number in (1, 2, 4)}
    assert configuration.load().proxy.listeners[0].clients.extended_key_usage == numbers
    trust(configuration, "ca_file: ca.crt, insecure_any_extended_key_usage: true")
    loaded = configuration.load()
    assert loaded.proxy.listeners[0].clients.extended_key_usage == frozenset()
    assert [one.message for one in loaded.dangers] == ["`insecure_any_extended_key_usage` is on"]


def test_upstream_authorities_that_python_cannot_use_are_refused(
    configuration: Configuration, pki: Pki
) -> None:
    (configuration.folder / "api.crt").write_bytes(pki.server_authority.pem + BROKEN)
    tls = 'upstream: {url: "https://127.0.0.1:8080", tls: {ca_file: api.crt}}'
    configuration.write_service(SERVICE.replace('upstream: {url: "http://127.0.0.1:8080"}', tls))
    (message,) = messages(configuration)
    assert "broken certificate" in message or message.startswith("the upstream's TLS cannot be set up: ")


# --- key sets

GOOD = {"kty": "EC", "crv": "P-256", "kid": "a"}


def key_file(configuration: Configuration, content: str | bytes) -> None:
    path = configuration.folder / "policies" / "jwks"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    configuration.write_policy(POLICY.replace("{discovery: true}", "{jwks_file: jwks}"))


def test_duplicate_member_of_a_key_set_is_refused(configuration: Configuration) -> None:
    key_file(configuration, '{"keys": [], "keys": []}')
    (message,) = messages(configuration)
    assert message.startswith("`policies/jwks`")


def test_key_that_cannot_be_used_and_a_set_without_any_are_doubted(configuration: Configuration) -> None:
    key_file(configuration, json.dumps({"keys": [GOOD]}))
    found = doubts(configuration)
    assert any(one.startswith("`policies/jwks`: key `a` is not used: ") for one in found)
    assert "`policies/jwks` has no usable key: every token gets 503" in found


# --- rules


def test_no_rule_is_doubted(configuration: Configuration) -> None:
    configuration.write_policy(POLICY.partition("rules:")[0])
    assert "there is no rule: every request will be refused" in doubts(configuration)


def test_without_secrets_what_is_absent_is_not_tried(configuration: Configuration) -> None:
    from sidecar.settings import load

    (configuration.folder / "server.key").unlink()
    loaded = load(configuration.file, absent_files_pass=True)
    assert any("does not exist" in one.message for one in loaded.warnings)


def test_stock_server_certificate_is_good(configuration: Configuration) -> None:
    folder: Path = configuration.folder
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    command += ["-keyout", str(folder / "server.key"), "-out", str(folder / "server.crt")]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "server.key").chmod(0o600)
    assert messages(configuration) == []
