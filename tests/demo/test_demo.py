"""The demo is the first thing a newcomer runs: every promise on its table, and the commands it invites to."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.demo import scenarios
from sidecar.demo.client import Reply

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
    "forged identity fields never arrive",
    "100 MB down",
    "100 MB up",
)


def test_demo_keeps_every_promise_and_exits() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "demo", "--check"],
        check=False,
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for promise in PROMISES:
        assert f"✓ {promise}" in done.stdout
    assert re.search(r"(\d+) of \1 promises kept", done.stdout)


def test_commands_the_demo_invites_to_do_what_it_says(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sidecar", "demo", "--folder", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or not lines[-1].startswith("Ctrl-C"):
            line = process.stdout.readline()
            assert line, "".join(lines)
            lines.append(line)
        commands = [line.strip() for line in lines if line.strip().startswith(("curl", "sidecar explain"))]
        token = (tmp_path / "token.txt").read_text().strip()
        rightful, thief, explain = (
            command.replace(f"$(cat {tmp_path}/token.txt)", token) for command in commands
        )
        assert '"path": "/accounts/42"' in run(rightful).stdout
        assert "binding_mismatch" in run(thief).stdout
        explained = run(explain.replace("sidecar explain", f"{sys.executable} -m sidecar explain"))
        assert explained.returncode == 1
        assert "binding_mismatch" in explained.stdout
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=15)
        assert process.returncode == 0, rest


def run(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(shlex.split(command), check=False, capture_output=True, text=True, timeout=20)


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
    ],
)
def test_a_broken_promise_would_be_seen(verify: object, body: bytes, complaint: str) -> None:
    answer = Reply(200, "HTTP/1.1 200 OK", body, len(body))
    assert callable(verify)
    assert verify(answer) == complaint
