"""`sidecar init`: a small configuration for an issuer that it looks at and an API that is there."""

import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidecar.command.cli import main
from sidecar.settings import load
from tests.support.issuer import METADATA_PATHS, Behaviour, ScriptedIssuer, answer, redirect
from tests.support.mint import SigningKey
from tests.support.pki import Pki

AUDIENCE = "https://api.example.com"
UPSTREAM = "http://127.0.0.1:8080"


@pytest.fixture
def issuer(pki: Pki, signing_key: SigningKey) -> Iterator[ScriptedIssuer]:
    with ScriptedIssuer(keys=[signing_key], certificate=pki.server) as one:
        yield one


@pytest.fixture
def authority(pki: Pki, tmp_path: Path) -> Path:
    file = tmp_path / "authority.crt"
    file.write_bytes(pki.server_authority.pem)
    return file


@dataclass(frozen=True)
class Asked:
    """An issuer, who vouches for it, and a folder that is not there yet."""

    issuer: ScriptedIssuer
    authority: Path
    folder: Path


@pytest.fixture
def asked(issuer: ScriptedIssuer, authority: Path, tmp_path: Path) -> Asked:
    return Asked(issuer, authority, tmp_path / "new")


def init(folder: Path, url: str, *words: object) -> int:
    given = ["--issuer", url, "--audience", AUDIENCE, "--upstream", UPSTREAM]
    return main(["init", "--folder", str(folder), *given, *map(str, words)])


def test_what_it_writes_is_good_and_in_report_only_until_a_day(
    issuer: ScriptedIssuer, authority: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new"
    before = datetime.now(UTC)
    assert init(folder, issuer.url, "--ca-file", authority) == 0
    days = {(one + timedelta(days=14)).date().isoformat() for one in (before, datetime.now(UTC))}
    said = capsys.readouterr().out
    assert f"{issuer.url} answers: 1 key (ES256); it says that it binds tokens to certificates" in said
    policy = load(folder / "sidecar.yaml", absent_files_pass=True).policy
    trusted = policy.issuers[issuer.url]
    assert trusted.algorithms == {"ES256"}
    assert trusted.audience == {AUDIENCE}
    text = (folder / "policy.yaml").read_text()
    assert any(
        f"report_only: {{until: {day}}}" in text and f"report only ends on {day}" in said for day in days
    )


def test_the_commands_that_it_says_come_next_work(
    issuer: ScriptedIssuer, authority: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my api"
    init(folder, issuer.url, "--ca-file", authority)
    said = re.findall(
        r"^ +(?:\d\. )?(\S*sidecar (?:certificate|check|test) .*)$", capsys.readouterr().out, re.MULTILINE
    )
    assert len(said) == 4
    done = [in_this_shell(command) for command in said]
    assert [one.returncode for one in done] == [0] * 4, done
    assert "1 passed, 0 failed" in done[-1].stdout


def in_this_shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", command], check=False, capture_output=True, text=True, timeout=30)


def test_an_issuer_that_says_nothing_of_binding_is_told_of(
    issuer: ScriptedIssuer, authority: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    issuer.metadata["tls_client_certificate_bound_access_tokens"] = None
    assert init(tmp_path / "new", issuer.url, "--ca-file", authority) == 0
    assert "it does not say that it binds tokens to certificates" in capsys.readouterr().out


def test_an_issuer_with_openid_connect_metadata_alone_is_looked_at_there(
    issuer: ScriptedIssuer, authority: Path, tmp_path: Path
) -> None:
    issuer.answers[METADATA_PATHS[0]] = answer(status=404)
    assert init(tmp_path / "new", issuer.url, "--ca-file", authority) == 0


def test_offline_nobody_is_asked(issuer: ScriptedIssuer, tmp_path: Path) -> None:
    assert init(tmp_path / "new", issuer.url, "--offline") == 0
    assert issuer.requests == []


def refused(folder: Path, capsys: pytest.CaptureFixture[str], url: str, *words: object) -> str:
    """The one line that it says; nothing is written."""
    assert init(folder, url, *words) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err[:-1].isprintable()
    assert not folder.exists()
    return said.err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://as.example.com", "anyone on the network can replace its keys: use `https://as.example.com`"),
        ("as.example.com", "is not an issuer: write `iss` of its tokens, such as https://as.example.com"),
        ("https://", "is not an issuer"),
        ("https://[::1", "is not an issuer"),
        ("https://as.example.com?x=1", "is not an issuer"),
        ("https://as.example.com/\x1b[2J", "is not an issuer"),
        ("https://nowhere.invalid", "the name does not resolve: check how it is written"),
        ("https://localhost:1", "refused: check host and port"),
    ],
)
def test_an_issuer_that_cannot_be_or_does_not_answer_is_one_line_with_the_cure(
    url: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(tmp_path / "new", capsys, url)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"issuer": "https://evil.example"}, 'names another issuer: "https://evil.example"'),
        ({"issuer": "https://evil.example\x1b[2J\n"}, "names another issuer"),
        ({"jwks_uri": None}, "has no jwks_uri: opaque tokens need introspection"),
        ({"jwks_uri": "nonsense"}, "jwks_uri is no URL"),
    ],
)
def test_an_issuer_that_lies_is_one_line_with_the_cure(
    document: dict[str, object], said: str, asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.issuer.metadata.update(document)
    assert said in refused(asked.folder, capsys, asked.issuer.url, "--ca-file", asked.authority)


def test_a_slash_too_many_is_another_issuer(
    issuer: ScriptedIssuer, authority: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(tmp_path / "new", capsys, f"{issuer.url}/", "--ca-file", authority)
    assert "write it exactly as in `iss` of its tokens, with path and slash" in said


@pytest.mark.parametrize(
    ("path", "behaviour", "said"),
    [
        ("metadata", answer(status=404), "it has no metadata there (RFC 8414): 404"),
        ("metadata", answer(status=503), "the answer is 503"),
        ("metadata", redirect("https://evil.example/"), "not followed"),
        ("metadata", answer(b"<html>"), "the answer is not JSON"),
        ("/jwks", answer({"keys": []}), "it publishes no key: without one no token can be verified"),
        ("/jwks", answer({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}), "no key that can be used; key #0"),
        ("/jwks", answer({}), "its jwks_uri has no JSON object with a list `keys`"),
        ("/jwks", answer(status=500), "the answer is 500"),
    ],
)
def test_an_issuer_that_answers_something_else_is_one_line_with_the_cure(
    path: str, behaviour: Behaviour, said: str, asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in METADATA_PATHS if path == "metadata" else (path,):
        asked.issuer.answers[place] = behaviour
    error = refused(asked.folder, capsys, asked.issuer.url, "--ca-file", asked.authority)
    assert said in error
    assert "c2VjcmV0" not in error


def test_a_certificate_that_is_not_trusted_is_told_of_the_option(
    issuer: ScriptedIssuer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(tmp_path / "new", capsys, issuer.url)
    assert "not trusted" in said
    assert "name the authority of its certificate with --ca-file" in said


def test_an_issuer_that_speaks_http_on_the_port_of_https_is_asked_about_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedIssuer() as plain:
        said = refused(tmp_path / "new", capsys, plain.url.replace("http:", "https:"))
    assert "does it speak http?" in said


def hang_up(listening: socket.socket) -> None:
    listening.accept()[0].close()


def test_an_issuer_that_hangs_up_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=hang_up, args=(listening,))
        answering.start()
        refused(tmp_path / "new", capsys, f"https://localhost:{listening.getsockname()[1]}")
        answering.join()


def test_an_issuer_that_never_answers_is_one_line_with_the_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        said = refused(tmp_path / "new", capsys, f"https://localhost:{listening.getsockname()[1]}")
    assert "try again, or use --offline" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--upstream", "localhost:8080"], "--upstream: `localhost:8080` is not http://host:port"),
        (["--audience", ""], "--audience: write `aud` of the tokens"),
        (["--ca-file", "/nowhere/ca.pem"], "it has no readable PEM certificates"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_cure(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(tmp_path / "new", capsys, "https://as.example.com", *words)


def test_files_that_are_there_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.yaml").write_text("mine")
    assert init(tmp_path, "https://as.example.com", "--offline") == 1
    assert "policy.yaml exists already: choose another --folder, or remove it" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["policy.yaml"]


def test_without_a_terminal_what_is_missing_is_named(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sidecar",
        "init",
        "--issuer",
        "https://as.example.com",
        "--folder",
        str(tmp_path),
    ]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30
    )
    assert done.returncode == 1
    assert "--audience is missing, and there is no terminal for questions" in done.stderr
    assert done.stderr.count("\n") == 1


def test_on_a_terminal_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sidecar", "init", "--offline", "--folder", str(tmp_path / "new")]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as asking:
        os.close(theirs)
        os.write(ours, f"https://as.example.com\n{AUDIENCE}\n{UPSTREAM}\n".encode())
        said = b""
        while b"tutorial" not in said:
            said += os.read(ours, 65536)
        assert asking.wait(30) == 0
    os.close(ours)
    assert b"Issuer: `iss` of its tokens" in said
    assert "https://as.example.com" in (tmp_path / "new" / "policy.yaml").read_text()


@pytest.mark.parametrize(
    "audience", ["urn:api", "x: #y", '"quoted"', "true", "0123", "- a", "ünïcode", "a\\b"]
)
def test_whatever_an_audience_holds_is_written_so_that_it_is_read_again(
    audience: str, tmp_path: Path
) -> None:
    assert init(tmp_path / "new", "https://as.example.com", "--offline", "--audience", audience) == 0
    policy = load(tmp_path / "new" / "sidecar.yaml", absent_files_pass=True).policy
    assert policy.issuers["https://as.example.com"].audience == {audience}


@pytest.mark.parametrize(
    ("address", "health"),
    [("[::1]:9443", "[::1]:9902"), ("127.0.0.1:1443", "127.0.0.1:9902"), ("*:8443", "*:9902")],
)
def test_the_address_is_where_it_listens(address: str, health: str, tmp_path: Path) -> None:
    assert init(tmp_path / "new", "https://as.example.com", "--offline", "--address", address) == 0
    text = (tmp_path / "new" / "sidecar.yaml").read_text()
    assert f'address: "{address}"' in text
    assert f'health: {{address: "{health}"}}' in text
