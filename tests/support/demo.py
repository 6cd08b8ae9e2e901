"""A demo that stays up, and the commands that it invites to, run as a reader would run them."""

import base64
import contextlib
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def invited(*arguments: object) -> Iterator[list[str]]:
    """`sidecar demo ARGUMENTS…`, up and played: the commands that it prints. It must end well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sidecar", "demo", *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or not lines[-1].startswith("Ctrl-C"):
            line = process.stdout.readline()
            assert line, "".join(lines)
            lines.append(line)
        yield [before.strip() for hint, before in itertools.pairwise(lines) if hint.startswith("  # ")]
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0, rest


def in_a_new_shell(command: str, folder: str = "/") -> subprocess.CompletedProcess[str]:
    """As printed: a shell that inherits nothing of this one, in another folder."""
    bare = ["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/", "sh", "-c", command]
    return subprocess.run(bare, cwd=folder, check=False, capture_output=True, text=True, timeout=60)


def access_token_claims(answer: str) -> dict[str, Any]:
    """The claims of the token in a token endpoint's answer; nothing is verified."""
    payload = json.loads(answer)["access_token"].split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
