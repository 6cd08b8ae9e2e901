"""Files that settings name: there, readable, private, and what they are said to be."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from sidecar.settings import load
from tests.support.configuration import POLICY, SERVICE, Configuration
from tests.support.pki import Pki


def message(configuration: Configuration) -> str:
    """The one thing that is wrong, without the folder."""
    (problem,) = configuration.problems()
    return problem.message.replace(f"{configuration.folder}/", "")


def test_a_key_of_another_certificate_is_refused(configuration: Configuration, pki: Pki) -> None:
    (configuration.folder / "server.key").write_bytes(pki.client.key_pem)
    assert message(configuration) == "`server.key` is not the key of `server.crt`"


def test_a_key_that_everyone_may_read_is_refused(configuration: Configuration) -> None:
    (configuration.folder / "server.key").chmod(0o644)
    assert message(configuration) == (
        "`server.key` is readable by everyone: chmod o-r (or set insecure_private_key_readable_by_everyone: true)"
    )


def test_a_key_that_everyone_may_read_passes_under_an_embarrassing_name(configuration: Configuration) -> None:
    (configuration.folder / "server.key").chmod(0o644)
    switch = "insecure_private_key_readable_by_everyone"
    configuration.write_service(SERVICE.replace("server.key}", f"server.key, {switch}: true}}"))
    assert [one.message for one in configuration.load().dangers] == [f"`{switch}` is on"]


def test_a_key_that_is_encrypted_is_refused(configuration: Configuration, pki: Pki) -> None:
    encrypted = pki.server.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    (configuration.folder / "server.key").write_bytes(encrypted)
    assert message(configuration) == "`server.key` is encrypted; the private key must not be encrypted"


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_key_that_is_none_is_refused(configuration: Configuration, content: bytes) -> None:
    (configuration.folder / "server.key").write_bytes(content)
    assert message(configuration) == "`server.key` holds no PEM private key, or a broken one"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no PEM certificate"),
        (b"nonsense", "no PEM certificate"),
        (
            b"#\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "line 2: a broken certificate",
        ),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "a key, not a certificate"),
    ],
)
def test_a_certificate_that_is_none_is_refused(
    configuration: Configuration, content: bytes, problem: str
) -> None:
    (configuration.folder / "server.crt").write_bytes(content)
    assert message(configuration) == f"`server.crt`: {problem}"


def test_a_truncated_certificate_is_refused(configuration: Configuration, pki: Pki) -> None:
    (configuration.folder / "server.crt").write_bytes(pki.server.pem[: len(pki.server.pem) // 2])
    assert message(configuration) == "`server.crt`: line 1: a certificate without an end"


def test_an_absent_file_and_a_directory_are_named(configuration: Configuration) -> None:
    (configuration.folder / "server.key").unlink()
    assert message(configuration) == "`server.key` does not exist"
    (configuration.folder / "server.key").mkdir()
    assert message(configuration) == "`server.key` is not a file"


@pytest.mark.parametrize("name", ['""', "[a]", "5", '"a\\0b"', "{}"])
def test_what_is_no_file_name_is_refused(configuration: Configuration, name: str) -> None:
    configuration.write_service(SERVICE.replace("server.key", name))
    assert message(configuration).startswith("expected the name of a file, got ")


def test_a_very_long_file_name_is_a_problem_and_no_crash(configuration: Configuration) -> None:
    configuration.write_service(SERVICE.replace("server.key", "x" * 5000))
    assert "cannot be read" in message(configuration) or "does not exist" in message(configuration)


def test_a_crl_that_is_none_is_refused(configuration: Configuration, pki: Pki) -> None:
    (configuration.folder / "ca.crt").write_bytes(pki.client_authority.pem)
    (configuration.folder / "ca.crl").write_bytes(b"nonsense")
    section = "    client_certificate: {trust: ca, ca_file: ca.crt, crl_file: ca.crl}\nupstream"
    configuration.write_service(SERVICE.replace("upstream", section, 1))
    assert message(configuration) == "`ca.crl` holds no certificate revocation list, or a broken one"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "`policies/jwks` is not JSON"),
        ("[" * 100_000, "`policies/jwks` is not JSON"),
        ("[]", "`policies/jwks` is not a JWK set: no list `keys`"),
        ('{"keys": {}}', "`policies/jwks` is not a JWK set: no list `keys`"),
    ],
)
def test_a_jwk_set_that_is_none_is_refused(configuration: Configuration, content: str, expected: str) -> None:
    (configuration.folder / "policies" / "jwks").write_text(content)
    configuration.write_policy(POLICY.replace("{discovery: true}", "{jwks_file: jwks}"))
    assert message(configuration) == expected


def test_a_jwk_set_is_relative_to_the_policy_that_names_it(configuration: Configuration) -> None:
    path = configuration.folder / "policies" / "jwks"
    path.write_text('{"keys": []}')
    configuration.write_policy(POLICY.replace("{discovery: true}", "{jwks_file: jwks}"))
    assert path in configuration.load().files


@pytest.mark.parametrize(("hours", "tense"), [(-1, "expires"), (1, "expired")])
def test_a_certificate_that_ends_is_a_doubt(
    configuration: Configuration, pki: Pki, hours: int, tense: str
) -> None:
    end = pki.server.certificate.not_valid_after_utc
    warnings = load(configuration.file, now=end.timestamp() + hours * 3600).warnings
    assert [(one.line, one.message.replace(f"{configuration.folder}/", "")) for one in warnings] == [
        (3, f"`server.crt` {tense} on {end.date().isoformat()}")
    ]
    assert load(configuration.file, now=end.timestamp() - 12 * 3600).warnings == ()


def test_a_service_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    (problem,) = Configuration(tmp_path).problems()
    assert str(problem) == f"{tmp_path}/sidecar.yaml:0:0: cannot be read: No such file or directory"
