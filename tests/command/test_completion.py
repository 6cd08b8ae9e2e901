"""`sidecar completion`: the shells themselves are asked what they would complete."""

import subprocess
from pathlib import Path

import pytest

from sidecar.command.cli import COMMANDS, main


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def asked(shell: str, text: str, folder: Path) -> set[str]:
    done = subprocess.run(
        [shell, "-c", text], cwd=folder, check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {line.partition("\t")[0] for line in done.stdout.split("\n") if line}


def by_bash(made: str, words: list[str], folder: Path) -> set[str]:
    line = " ".join(f"'{word}'" for word in words)
    ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _sidecar; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    return asked("bash", f"{made}\n{ask}", folder)


def by_fish(made: str, words: list[str], folder: Path) -> set[str]:
    (folder / "made.fish").write_text(made)
    return asked("fish", f"source made.fish; complete -C '{' '.join(words)}'", folder)


SHELLS = pytest.mark.parametrize("shell", ["bash", "fish"])
ASK = {"bash": by_bash, "fish": by_fish}


@SHELLS
def test_every_command_is_completed(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ASK[shell](script(shell, capsys), ["sidecar", ""], tmp_path)
    assert {command.name for command in COMMANDS} <= found


@SHELLS
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["che"], {"check"}),
        (["check", "--str"], {"--strict"}),
        (["check", "--format", ""], {"text", "json"}),
        (["certificate", "auth"], {"authority"}),
        (["schema", "pol"], {"policy"}),
        (["completion", "f"], {"fish"}),
        (["check", "--config", "side"], {"sidecar.yaml"}),
        (["test", "sidecar.y"], {"sidecar.yaml"}),
    ],
)
def test_a_shell_completes_what_fits(
    words: list[str], expected: set[str], shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sidecar.yaml").touch()
    assert ASK[shell](script(shell, capsys), ["sidecar", *words], tmp_path) == expected


@SHELLS
def test_a_value_that_nobody_can_know_is_not_made_up(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ASK[shell](script(shell, capsys), ["sidecar", "report", "--form"], tmp_path) == {"--format"}
    assert ASK[shell](script(shell, capsys), ["sidecar", "demo", "--port", ""], tmp_path) in (
        {"made.fish"},
        set(),
    )


def test_zsh_takes_the_script_and_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "_sidecar").write_text(script("zsh", capsys))
    seen = f"""
      autoload -U compinit && compinit -u -d {tmp_path}/dump
      _describe() {{ print -l -- ${{(P)2}} }}
      _arguments() {{ print -l -- $@ }}
      source {tmp_path}/_sidecar
      words=(sidecar ''); CURRENT=2; _sidecar
      words=(sidecar check ''); CURRENT=3; _sidecar
    """
    said = asked("zsh", f"{seen}", tmp_path)
    assert {f"{command.name}:{command.summary}" for command in COMMANDS} <= said
    assert "*--format[json - one object, for CI]:value:(text json)" in said
