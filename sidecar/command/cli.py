"""The command line: one row a command; only the chosen command's module is imported.

A command is a module with `configure(parser)`, which declares its arguments, and `execute(arguments)`, which does it
and returns the exit code: 0 done, 1 not so; argparse itself leaves with 2 on wrong usage.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, TextIO

from sidecar.process.host.build import version
from sidecar.settings.problem import SettingsError


class CommandModule(Protocol):
    """What a command's module offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def execute(self, arguments: argparse.Namespace) -> int:
        """Do it; returns the exit code."""


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table."""

    name: str
    module: str
    summary: str


COMMANDS: Final = (
    Command("run", "sidecar.command.run", "serve requests until SIGTERM"),
    Command(
        "admin-url", "sidecar.command.admin_url", "print the link to the admin page of the running sidecar"
    ),
    Command("certificate", "sidecar.command.certificate", "make keys and certificates for try-outs"),
    Command("check", "sidecar.command.check", "report every problem of a configuration"),
    Command("completion", "sidecar.command.completion", "print a script that completes commands in a shell"),
    Command("demo", "sidecar.command.demo", "try the sidecar on loopback, or in front of your own API"),
    Command("explain", "sidecar.command.explain", "show each check of a request, and why it is refused"),
    Command("init", "sidecar.command.init", "write a small configuration for your issuer and your API"),
    Command("inject", "sidecar.command.inject", "add the sidecar to Kubernetes manifests"),
    Command(
        "report",
        "sidecar.command.report",
        "show from the access log which clients are ready for enforcement",
    ),
    Command("schema", "sidecar.command.schema", "print the JSON Schema of a settings file, for editors"),
    Command("test", "sidecar.command.test", "run policy test cases against a configuration"),
    Command(
        "thumbprint", "sidecar.command.thumbprint", "print the x5t#S256 of a certificate, or the jkt of a key"
    ),
    Command("uninject", "sidecar.command.uninject", "remove the sidecar from Kubernetes manifests"),
    Command("webhook", "sidecar.command.webhook", "serve the mutating admission webhook that injects Pods"),
)


class _Version(argparse.Action):
    """Prints the version, and leaves."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(version())
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Wrong usage leaves with `SystemExit(2)`, as argparse has it."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser, module = _parser(words)
    arguments = parser.parse_args(words)
    if module is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked while modules were imported
        return _flushed(module.execute(arguments))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output is gone; nothing more can be written.
        _give_up_output()
        return 1
    except OSError as error:  # a device that is full, say
        _give_up_output()
        where = f"{error.filename}: " if error.filename else ""
        print(f"sidecar: {where}{(error.strerror or str(error)).lower()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _flushed(code: int) -> int:
    """The exit code, once everything that was printed has got through. Raises OSError."""
    output: TextIO | None = sys.stdout  # None where the program was started without a standard output
    if output is not None:
        output.flush()
    return code


def _give_up_output() -> None:
    """So that the interpreter does not try again at its exit, and leave a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(words: Sequence[str]) -> tuple[argparse.ArgumentParser, CommandModule | None]:
    """The parser, with the arguments of the command that `words` choose, and that command."""
    parser = argparse.ArgumentParser(
        prog="sidecar",
        description="A reverse proxy that lets a request through only when its OAuth access token is valid and "
        "bound to the client certificate of the connection (RFC 8705).",
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="name, version, and whether the build is compiled"
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    chosen = next((word for word in words if not word.startswith("-")), None)
    module: CommandModule | None = None
    for command in COMMANDS:
        inner = commands.add_parser(command.name, help=command.summary, description=f"{command.summary}.")
        if command.name == chosen:
            module = import_module(command.module)
            module.configure(inner)
    return parser, module
