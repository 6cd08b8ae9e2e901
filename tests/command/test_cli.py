"""The table of commands."""

from collections.abc import Callable
from importlib import import_module

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


def test_no_command_prints_the_help_and_leaves_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "check" in capsys.readouterr().err
