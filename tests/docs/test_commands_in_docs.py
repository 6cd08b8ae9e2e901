"""Every command in the documentation does what the page shows."""

import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidecar.decision.denial import Reason
from tests.command.test_check import FIVE_MISTAKES
from tests.command.test_report import Log
from tests.support.mint import SigningKey, jwks
from tests.support.pki import Pki

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cli.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
ANY = "…"


@dataclass(frozen=True)
class Shown:
    """Commands of one block, and what the page shows of their output."""

    line: int
    commands: tuple[str, ...]
    output: str


def blocks() -> list[Shown]:
    text = PAGE.read_text("utf-8")
    found = []
    for block in _BLOCK.finditer(text):
        lines = block[1].splitlines(keepends=True)
        commands = tuple(line[2:].rstrip("\n") for line in lines if line.startswith("$ "))
        output = "".join(line for line in lines if not line.startswith("$ "))
        found.append(Shown(text.count("\n", 0, block.start()) + 1, commands, output))
    return found


@pytest.fixture
def place(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> Path:
    """A clone after `make install`, and the files that the page speaks of."""
    shutil.copytree(ROOT / "config", tmp_path / "config", ignore=shutil.ignore_patterns("tls", "__pycache__"))
    runpy.run_path(str(tmp_path / "config" / "make_tls.py"), run_name="__main__")
    mistaken = FIVE_MISTAKES.replace("server.crt", "tls/tls.crt").replace("server.key", "tls/tls.key")
    (tmp_path / "config" / "five-mistakes.yaml").write_text(mistaken)
    (tmp_path / "client.crt").write_bytes(pki.client.pem)
    (tmp_path / "token.jwt").write_text(signing_key.token(hashlib.sha256(pki.client.der).hexdigest()))
    (tmp_path / "jwks.json").write_text(json.dumps(jwks(signing_key)))
    log = Log()
    for _ in range(3):
        log.request("mobile", pki.client, pki.client)
    for _ in range(2):
        log.request("batch-job", None, pki.client, reason=Reason.BINDING_MISSING, reported=True)
    (tmp_path / "access.log").write_text("".join(log.lines))
    return tmp_path


@pytest.mark.parametrize("shown", blocks(), ids=lambda one: f"cli.md:{one.line}")
def test_a_command_prints_what_the_page_shows(shown: Shown, place: Path) -> None:
    assert shown.commands
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONHOME", None)
    printed = ""
    for command in shown.commands:
        done = subprocess.run(
            ["bash", "-c", command], cwd=place, env=environment, capture_output=True, text=True, check=False
        )
        printed += done.stdout + done.stderr
    assert re.fullmatch(pattern(shown.output), printed), printed


def pattern(text: str) -> str:
    """`…` stands for anything within a line; alone in a line, for lines."""
    lines = [
        "(?:.*\n)*?"
        if line == ANY and text.strip() != ANY
        else re.escape(line).replace(re.escape(ANY), ".+") + "\n"
        for line in text.splitlines()
    ]
    return "".join(lines)
