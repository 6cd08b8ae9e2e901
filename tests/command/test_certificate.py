"""`sidecar certificate`: an authority, a server's and clients' certificates, for trying out."""

import datetime as dt
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from sidecar.command.cli import main
from sidecar.trust.certification import Subject, Use, read_identity, write_identity
from tests.support.pki import thumbprint


def make(folder: Path, *words: str) -> int:
    return main(["certificate", *words, "--folder", str(folder)])


def loaded(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_openssl_verifies_what_is_made_strictly_and_for_its_purpose(tmp_path: Path) -> None:
    for words in (["authority"], ["server", "--dns", "api.example.com"], ["client", "--name", "tpp-1"]):
        assert make(tmp_path, *words) == 0
    for name, purpose in (("server", "sslserver"), ("tpp-1", "sslclient")):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "authority.crt"]
        done = subprocess.run(
            [*command, f"{name}.crt"], cwd=tmp_path, check=False, capture_output=True, text=True
        )
        assert done.stdout == f"{name}.crt: OK\n", done.stderr
    wrong = ["openssl", "verify", "-purpose", "sslserver", "-CAfile", "authority.crt", "tpp-1.crt"]
    assert subprocess.run(wrong, cwd=tmp_path, check=False, capture_output=True).returncode != 0


def test_every_certificate_names_its_key_its_signer_and_its_use(tmp_path: Path) -> None:
    make(tmp_path, "authority")
    make(tmp_path, "client", "--uri", "spiffe://prod/api", "--dns", "tpp.example", "--dns", "::1")
    authority, client = loaded(tmp_path / "authority.crt"), loaded(tmp_path / "client.crt")
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    signer = client.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert own == signer
    usage = authority.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    names = client.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://prod/api"]
    assert names.get_values_for_type(x509.DNSName) == ["tpp.example"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["::1"]


def test_it_prints_the_thumbprint_and_says_that_it_is_not_for_production(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(tmp_path, "client", "--self-signed") == 0
    said = capsys.readouterr()
    assert thumbprint(loaded(tmp_path / "client.crt")) in said.out
    assert "never for production" in said.err
    assert stat.S_IMODE((tmp_path / "client.key").stat().st_mode) == 0o600


def test_no_certificate_outlives_its_authority(tmp_path: Path) -> None:
    make(tmp_path, "authority", "--days", "3")
    make(tmp_path, "client", "--days", "300")
    ends = [loaded(tmp_path / f"{name}.crt").not_valid_after_utc for name in ("authority", "client")]
    assert ends[0] == ends[1]


def test_a_file_that_is_there_is_replaced_only_by_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "authority")
    before = (tmp_path / "authority.key").read_bytes()
    assert make(tmp_path, "authority") == 1
    assert "exists already: choose another --name, or replace it with --force" in capsys.readouterr().err
    assert (tmp_path / "authority.key").read_bytes() == before
    assert make(tmp_path, "authority", "--force") == 0
    assert (tmp_path / "authority.key").read_bytes() != before


def expired_authority(folder: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    week = dt.timedelta(days=7)
    write_identity(folder, "authority", Subject("old", Use.AUTHORITY, now - 2 * week, now - week))


def broken_authority(folder: Path) -> None:
    make(folder, "authority")
    (folder / "authority.key").write_text(
        "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    )


def mixed_authority(folder: Path) -> None:
    make(folder, "authority")
    make(folder, "authority", "--name", "other")
    (folder / "other.key").rename(folder / "authority.key")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (
            lambda _: None,
            "authority.crt does not exist: make it first with `sidecar certificate authority --folder",
        ),
        (expired_authority, "make a new one with `sidecar certificate authority --force --folder"),
        (broken_authority, "not a pair that this command made: make new ones"),
        (mixed_authority, "not a pair that this command made: make new ones"),
    ],
)
def test_an_authority_that_cannot_sign_is_one_line_with_the_cure(
    prepare: Callable[[Path], None], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path)
    capsys.readouterr()
    assert make(tmp_path, "client") == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert "c2VjcmV0" not in error
    assert not (tmp_path / "client.key").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["client", "--name", "../../etc/x"],
        ["client", "--name", ""],
        ["client", "--days", "0"],
        ["client", "--days", "398"],
        ["client", "--days", "soon"],
        ["root"],
    ],
)
def test_wrong_usage_leaves_with_two_and_writes_nothing(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        make(tmp_path, *words)
    assert caught.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_name_outside_ascii_is_told_how_to_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(tmp_path, "client", "--self-signed", "--dns", "bücher.example") == 1
    assert "xn--" in capsys.readouterr().err


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    make(tmp_path, "client", "--self-signed")
    assert read_identity(tmp_path, "client").thumbprint == thumbprint(loaded(tmp_path / "client.crt"))
