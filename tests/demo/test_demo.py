"""The demo is the first thing a newcomer runs: every promise on its table, and the commands it invites to."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.demo import scenarios
from sidecar.demo.client import Reply
from tests.support.demo import access_token_claims, in_a_new_shell, invited

PROMISES = (
    "the rightful client",
    "the same token, stolen: another certificate",
    "the same token without any certificate",
    "a token bound to nothing",
    "an expired token",
    "a token for another API",
    "signed by a stranger",
    "not signed: alg none",
    "a scope is missing",
    "a public route needs nothing",
    "a self-signed certificate, bound by the issuer",
    "DPoP: a token bound to a key, with its proof",
    "DPoP: the same proof once more",
    "DPoP: the token stolen: another key",
    "DPoP: the token alone",
    "DPoP: a proof for another URL",
    "token endpoint: the registered certificate",
    "token endpoint: the client_id of another",
    "token endpoint: a client that is not registered",
    "forged identity fields never arrive",
    "100 MB down",
    "100 MB up",
    "gRPC: the rightful client",
    "gRPC: the same token, stolen",
)


def test_demo_keeps_every_promise_and_exits() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "demo", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for promise in PROMISES:
        assert f"✓ {promise}" in done.stdout
    assert re.search(r"(\d+) of \1 as expected", done.stdout)


def test_commands_the_demo_invites_to_work_as_printed_in_a_new_shell_from_any_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a folder's name"
    with invited("--folder", folder) as commands:
        rightful, thief, explain, issue, explain_call = (in_a_new_shell(command) for command in commands)
    assert json.loads(rightful.stdout)["path"] == "/accounts/42"
    assert json.loads(thief.stdout)["reason"] == "binding_mismatch"
    assert explain.returncode == explain_call.returncode == 1
    assert "binding_mismatch" in explain.stdout
    assert "grpc-status 16 UNAUTHENTICATED" in explain_call.stdout
    issued = access_token_claims(issue.stdout)
    assert (
        issued["cnf"]
        == access_token_claims(json.dumps({"access_token": (folder / "token.txt").read_text().strip()}))[
            "cnf"
        ]
    )


@pytest.mark.parametrize(
    ("verify", "body", "complaint"),
    [
        (scenarios._no_forgery, b'{"headers": {"X-Auth-Subject": "root"}}', "X-Auth-Subject was root"),
        (
            scenarios._no_forgery,
            b'{"headers": {"X-Auth-Subject": "alice", "X_Auth_Subject": "root"}}',
            "a forged field arrived",
        ),
        (
            scenarios._no_forgery,
            b'{"headers": {"X-Auth-Subject": "alice", "Authorization": "Bearer x"}}',
            "the token arrived",
        ),
        (scenarios._all_arrived, b'{"received": 7}', "7 bytes arrived"),
        (scenarios._all_came, b"", "0 bytes came"),
        (scenarios._owner, b"\0\0\0\0\x06\x0a\x04root", "the API was not told who calls"),
    ],
)
def test_a_broken_promise_would_be_seen(verify: object, body: bytes, complaint: str) -> None:
    answer = Reply(200, "HTTP/1.1 200 OK", body, len(body))
    assert callable(verify)
    assert verify(answer) == complaint
