"""`sidecar completion`: a script with which a shell completes commands, options and their values.

The scripts are made of the parsers themselves: a new option is completed without anyone thinking of it.
"""

import argparse
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from sidecar.command.cli import COMMANDS


@dataclass(frozen=True, slots=True)
class _Option:
    """One option, or one place for a value without a name."""

    names: tuple[str, ...]
    """Empty: a value without a name."""
    choices: tuple[str, ...]
    takes_value: bool
    is_file: bool
    summary: str


@dataclass(frozen=True, slots=True)
class _Words:
    """What may follow one command."""

    command: str
    summary: str
    options: tuple[_Option, ...]

    @property
    def named(self) -> Iterator[tuple[str, _Option]]:
        """Each name of each option."""
        return ((name, option) for option in self.options for name in option.names)

    @property
    def values(self) -> tuple[str, ...]:
        """Choices of the values without a name."""
        return tuple(choice for option in self.options if not option.names for choice in option.choices)


class _Listening(argparse.ArgumentParser):
    """A parser that remembers what was declared."""

    def __init__(self, **given: Any) -> None:
        self.declared: list[argparse.Action] = []
        super().__init__(**given)

    def add_argument(self, *names: Any, **given: Any) -> argparse.Action:
        """Declare, and remember."""
        action = super().add_argument(*names, **given)
        self.declared.append(action)
        return action


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shell", choices=sorted(_SHELLS), help="which shell the script is for")
    parser.epilog = (
        'bash: eval "$(sidecar completion bash)"; zsh: the same, after compinit; '
        "fish: sidecar completion fish | source"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print the script."""
    print(
        "\n".join(_SHELLS[arguments.shell]([_words(one.name, one.module, one.summary) for one in COMMANDS]))
    )
    return 0


def _words(name: str, module: str, summary: str) -> _Words:
    parser = _Listening(prog=f"sidecar {name}")
    import_module(module).configure(parser)
    return _Words(name, summary, tuple(_option(action) for action in parser.declared))


def _option(action: argparse.Action) -> _Option:
    choices = tuple(map(str, action.choices or ()))
    summary = "" if action.help in {None, argparse.SUPPRESS} else str(action.help)
    return _Option(
        tuple(action.option_strings),
        choices,
        action.nargs != 0,
        action.type is Path,
        summary.partition(";")[0],
    )


# --- bash


def _bash(commands: list[_Words]) -> Iterator[str]:
    yield "# bash completion for sidecar"
    yield "_sidecar() {"
    yield '  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words=""'
    yield "  COMPREPLY=()"
    yield "  if [ $COMP_CWORD -eq 1 ]; then"
    yield f'    words="{" ".join(one.command for one in commands)} --help --version"'
    yield "  else"
    yield '    case "${COMP_WORDS[1]} $previous" in'
    for one in commands:
        for name, option in one.named:
            if option.choices:
                yield f'      "{one.command} {name}") words="{" ".join(option.choices)}" ;;'
            elif option.is_file:
                yield f'      "{one.command} {name}") COMPREPLY=($(compgen -f -- "$current")); return ;;'
            elif option.takes_value:
                yield f'      "{one.command} {name}") return ;;'
    yield "      *)"
    yield '        case "${COMP_WORDS[1]}" in'
    for one in commands:
        words = " ".join((*one.values, *(name for name, _ in one.named)))
        yield f'          {one.command}) words="{words}" ;;'
    yield "        esac ;;"
    yield "    esac"
    yield "  fi"
    yield '  COMPREPLY=($(compgen -W "$words" -- "$current"))'
    yield '  [ ${#COMPREPLY[@]} -gt 0 ] || [[ $current == -* ]] || COMPREPLY=($(compgen -f -- "$current"))'
    yield "}"
    yield "complete -F _sidecar sidecar"


# --- zsh


def _zsh(commands: list[_Words]) -> Iterator[str]:
    yield "#compdef sidecar"
    yield "_sidecar() {"
    yield "  local -a commands=("
    yield from (f"    {shlex.quote(f'{one.command}:{one.summary}')}" for one in commands)
    yield "  )"
    yield "  if (( CURRENT == 2 )); then"
    yield "    _describe command commands"
    yield "    return"
    yield "  fi"
    yield "  local command=$words[2]"
    yield "  shift words"
    yield "  (( CURRENT-- ))"
    yield "  case $command in"
    for one in commands:
        yield f"    {one.command}) _arguments \\"
        for option in one.options:
            yield from (f"      {shlex.quote(spec)} \\" for spec in _zsh_specs(option))
        yield "      ;;"
    yield "  esac"
    yield "}"
    yield "compdef _sidecar sidecar"


def _zsh_specs(option: _Option) -> Iterator[str]:
    value = f"({' '.join(option.choices)})" if option.choices else "_files" if option.is_file else ""
    if not option.names:
        yield f"*:value:{value or '_files'}"
    summary = option.summary.replace("[", "(").replace("]", ")").replace(":", " -")
    for name in option.names:
        yield f"*{name}[{summary}]" + (f":value:{value}" if option.takes_value else "")


# --- fish


def _fish(commands: list[_Words]) -> Iterator[str]:
    yield "# fish completion for sidecar"
    yield "complete -c sidecar -f"
    for one in commands:
        yield f"complete -c sidecar -n __fish_use_subcommand -a {one.command} -d {shlex.quote(one.summary)}"
    for one in commands:
        inside = f"complete -c sidecar -n '__fish_seen_subcommand_from {one.command}'"
        for option in one.options:
            yield f"{inside}{_fish_option(option)}"


def _fish_option(option: _Option) -> str:
    names = "".join(f" -{'l' if name.startswith('--') else 's'} {name.lstrip('-')}" for name in option.names)
    offered = f" -a {shlex.quote(' '.join(option.choices))}" if option.choices else ""
    if names:
        needs = (" -r -F" if option.is_file else " -x") if option.takes_value else ""
    else:
        needs = "" if option.choices else " -F"
    return f"{names}{needs}{offered} -d {shlex.quote(option.summary)}"


_SHELLS: Final[dict[str, Callable[[list[_Words]], Iterator[str]]]] = {
    "bash": _bash,
    "fish": _fish,
    "zsh": _zsh,
}
