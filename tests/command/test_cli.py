"""The table of commands."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from sidecar.command.cli import COMMANDS, Command, main


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_row_of_the_table_is_a_command(command: Command) -> None:
    module = import_module(command.module)
    parts: list[Callable[..., object]] = [module.configure, module.execute]
    assert all(callable(part) for part in parts)
    assert command.summary


@pytest.mark.parametrize("words", [["nonsense"], ["check"], ["check", "--no-such"], ["--nonsense"]])
def test_wrong_usage_leaves_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: sidecar" in capsys.readouterr().err


def run(*words: object, output: str = "") -> tuple[int, str]:
    """Exit code and standard error of the command as a process, its output going to the file `output`."""
    with Path(output or os.devnull).open("w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", *map(str, words)],
            check=False, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    return done.returncode, done.stderr


def test_device_that_is_full_is_one_line() -> None:
    assert run("schema", "service", output="/dev/full") == (1, "sidecar: no space left on device\n")


def test_file_that_cannot_be_written_or_read_is_one_line(tmp_path: Path) -> None:
    manifest = tmp_path / "pod.yaml"
    manifest.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    for words in (
        [
            "inject",
            "-f",
            manifest,
            "--image",
            "registry.example/s:1",
            "-o",
            tmp_path / "nowhere" / "out.yaml",
        ],
        ["report", tmp_path / "nowhere.log"],
        ["report", tmp_path],
        ["thumbprint", tmp_path / "nowhere.pem"],
        ["test", "--config", tmp_path / "nowhere.yaml", tmp_path / "cases.yaml"],
    ):
        code, told = run(*words)
        assert (code in {1, 2}, "Traceback" in told, told.count("\n")) == (True, False, 1), (words, told)


def test_no_command_prints_the_help_and_leaves_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "check" in capsys.readouterr().err
