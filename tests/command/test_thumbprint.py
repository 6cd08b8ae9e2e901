"""`sidecar thumbprint`: the value of `x5t#S256` (RFC 8705 §3.1)."""

import base64
import hashlib
import io
import json
import subprocess
from pathlib import Path

import pytest

from sidecar.command.cli import main
from sidecar.http.certificate_field import CertificateFormat, FieldCertificates, emit
from tests.support.pki import Pki
from tests.support.proofs import Prover


def test_the_thumbprint_of_pem_and_of_der_are_one(
    tmp_path: Path, pki: Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pem").write_bytes(pki.self_signed_client.pem)
    (tmp_path / "der").write_bytes(pki.self_signed_client.der)
    digest = hashlib.sha256(pki.self_signed_client.der).digest()
    expected = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    for name in ("pem", "der"):
        assert main(["thumbprint", str(tmp_path / name)]) == 0
        assert capsys.readouterr().out == f"{expected}\n"


def test_openssl_says_the_same(tmp_path: Path, pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pem"
    path.write_bytes(pki.client.pem)
    command = ["openssl", "x509", "-in", str(path), "-noout", "-fingerprint", "-sha256"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    digest = bytes.fromhex(said.partition("=")[2].strip().replace(":", ""))
    main(["thumbprint", str(path)])
    assert capsys.readouterr().out.strip() == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_the_first_of_several_certificates_counts_and_the_others_are_mentioned(
    tmp_path: Path, pki: Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "chain"
    path.write_bytes(pki.self_signed_client.pem + pki.client_authority.pem)
    assert main(["thumbprint", str(path)]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == pki.self_signed_client.thumbprint
    assert said.err.startswith(f"also in the file: {pki.client_authority.thumbprint}  ")


def test_a_certificate_may_come_on_standard_input(
    pki: Pki, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(pki.self_signed_client.pem)))
    assert main(["thumbprint", "-"]) == 0
    assert capsys.readouterr().out.strip() == pki.self_signed_client.thumbprint


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no PEM or DER certificate"),
        (b"nonsense", "no PEM or DER certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "line 1: a broken certificate"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "a key, not a certificate"),
        (b"x" * (1024 * 1024 + 1), "larger than 1 MiB"),
    ],
)
def test_what_is_no_certificate_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, expected: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert main(["thumbprint", str(path)]) == 1
    assert capsys.readouterr().err == f"{path}: {expected}\n"


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["thumbprint", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == f"{tmp_path}/none: cannot be read: No such file or directory\n"


def test_thumbprint_of_a_key_is_its_jkt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prover = Prover.create()
    path = tmp_path / "jwk"
    path.write_text(json.dumps({**prover.jwk, "kid": "x", "d": "private"}))
    assert main(["thumbprint", "--jwk", str(path)]) == 0
    assert capsys.readouterr().out == f"{prover.thumbprint}\n"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"kty": "oct", "k": "secret"}'])
def test_what_is_no_key_is_said_in_a_line(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "jwk"
    path.write_text(content)
    assert main(["thumbprint", "--jwk", str(path)]) == 1
    said = capsys.readouterr().err
    assert "is not a JSON Web Key" in said
    assert "secret" not in said


@pytest.mark.parametrize("form", CertificateFormat)
@pytest.mark.parametrize("name", ["", "X-Client-Cert: "], ids=["value", "line"])
def test_the_value_of_a_proxys_field_is_read_however_it_is_written(
    tmp_path: Path, pki: Pki, capsys: pytest.CaptureFixture[str], form: CertificateFormat, name: str
) -> None:
    value, _ = emit(form, FieldCertificates(pki.client.der))
    (tmp_path / "field").write_bytes(name.encode() + value + b"\n")
    assert main(["thumbprint", str(tmp_path / "field")]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == pki.client.thumbprint
    assert said.err == f"read as {form.value}\n"


def test_the_likely_mistake_of_a_value_is_named(
    tmp_path: Path, pki: Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    escaped, _ = emit(CertificateFormat.PEM_URLENCODED, FieldCertificates(pki.client.der))
    base64_alone, _ = emit(CertificateFormat.DER_BASE64, FieldCertificates(pki.client.der))
    mistakes = {
        escaped.replace(b"%20", b"+"): "form encoding",
        hashlib.sha256(pki.client.der).hexdigest().encode(): "a hash alone",
        base64_alone[:80] + b" " + base64_alone[81:]: "`+` was decoded as a space",
        escaped.replace(b"%", b"%25"): "percent-encoded twice",
    }
    for value, mistake in mistakes.items():
        (tmp_path / "field").write_bytes(value)
        assert main(["thumbprint", str(tmp_path / "field")]) == 1
        assert mistake in capsys.readouterr().err
