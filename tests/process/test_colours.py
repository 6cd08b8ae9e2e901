"""Colours: on a terminal, and nowhere else."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.configuration import Configuration
from tests.support.pki import Pki

ROOT = Path(__file__).parents[2]
RED = "\033[31m"


def on_a_terminal(words: list[str], folder: Path, **environment: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    try:
        settings = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        subprocess.run(
            [sys.executable, "-m", "sidecar", *words],
            cwd=folder, stdout=theirs, check=False, env={**settings, "PYTHONPATH": str(ROOT), **environment},
        )  # fmt: skip
    finally:
        os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the other end is closed and all is read
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    return written.decode()


@pytest.fixture
def folder(tmp_path: Path, pki: Pki) -> Path:
    Configuration.create(tmp_path, pki)
    (tmp_path / "cases.yaml").write_text(
        "cases:\n- {name: a, request: {target: /x}, expect: {status: 200}}\n"
    )
    return tmp_path


COMMANDS = [
    ["explain", "--config", "sidecar.yaml", "--url", "/accounts"],
    ["test", "--config", "sidecar.yaml", "cases.yaml"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_failure_is_red_on_a_terminal(words: list[str], folder: Path) -> None:
    assert f"{RED}FAIL" in on_a_terminal(words, folder)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_no_color_is_respected(words: list[str], folder: Path) -> None:
    said = on_a_terminal(words, folder, NO_COLOR="1")
    assert "FAIL" in said
    assert "\033" not in said


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_pipe_gets_no_colours(words: list[str], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", *words],
        cwd=folder, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert "FAIL" in done.stdout
    assert "\033" not in done.stdout


@pytest.fixture
def doubtful(folder: Path) -> Path:
    """A mistake in the service file."""
    text = (folder / "sidecar.yaml").read_text()
    (folder / "sidecar.yaml").write_text(f"{text}workers: many\n")
    return folder


def test_check_paints_the_place_of_a_problem(doubtful: Path) -> None:
    said = on_a_terminal(["check", "--config", "sidecar.yaml"], doubtful)
    assert re.search(r"\x1b\[31msidecar\.yaml:\d+:\d+\x1b\[0m: ", said)


def test_check_paints_the_place_of_a_doubt(folder: Path) -> None:
    (folder / "policies" / "policy.yaml").write_text(
        (folder / "policies" / "policy.yaml").read_text()
        + "  - {name: open, match: {path: /open}, public: true}\n"
    )
    said = on_a_terminal(["check", "--config", "sidecar.yaml"], folder)
    assert re.search(r"\x1b\[33mpolicies/policy\.yaml:\d+:\d+\x1b\[0m: warning: ", said)


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_check_respects_who_wants_no_colour(setting: dict[str, str], doubtful: Path) -> None:
    said = on_a_terminal(["check", "--config", "sidecar.yaml"], doubtful, **setting)
    assert re.search(r"^sidecar\.yaml:\d+:\d+: ", said)
    assert "\033" not in said
