"""`sidecar check`: everything that is wrong or doubtful in a configuration, each at its file, line and column."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

from sidecar.command.service_file import add_config
from sidecar.command.terminal import GREEN, RED, YELLOW, painted
from sidecar.settings import Loaded, Problem, SettingsError, load
from sidecar.settings.profiles import explained
from sidecar.settings.upgrading import CHANGES, changes


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_config(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object, for CI")
    parser.add_argument("--strict", action="store_true", help="warnings also fail the check")
    parser.add_argument(
        "--explain", action="store_true", help="say what the `profile` of an issuer sets, with the clauses"
    )
    parser.add_argument(
        "--without-secrets",
        action="store_true",
        help="missing keys, certificates, secrets and JWK sets are only warnings (for CI)",
    )
    parser.add_argument(
        "--upgrading-from",
        choices=tuple(CHANGES),
        metavar="VERSION",
        help="list what changed for this configuration since that version: " + ", ".join(CHANGES),
    )


def execute(arguments: argparse.Namespace) -> int:
    """Check; 0 when the configuration can be run, else 1."""
    loaded: Loaded | None = None
    try:
        loaded = load(arguments.config, absent_files_pass=arguments.without_secrets, now=time.time())
        problems: Sequence[Problem] = (*loaded.dangers, *loaded.warnings)
    except SettingsError as error:
        problems = error.problems
    since: str | None = arguments.upgrading_from
    otherwise = changes(loaded, since) if loaded is not None and since is not None else ()
    is_good = loaded is not None and not (arguments.strict and problems)
    if arguments.format == "json":
        document: dict[str, object] = {"good": is_good, "problems": [_row(one) for one in problems]}
        if arguments.explain:
            document["profiles"] = _profiles(loaded)
        if since is not None:
            document["changes"] = [{"name": one.name, "text": one.text} for one in otherwise]
        print(json.dumps(document, indent=2))
        return 0 if is_good else 1
    for problem in problems:
        print(_line(problem))
    if arguments.explain:
        for name, lines in _profiles(loaded).items():
            print(f"{name}: profile {lines[0]}", *lines[1:], sep="\n  ")
    for change in otherwise:
        print(f"since {since}: {change.text} (docs/upgrading.md#{change.name})")
    if is_good and loaded is not None:
        good = painted("good", GREEN, sys.stderr)
        print(f"{arguments.config}: {good}: {_count(loaded)}", file=sys.stderr)
    return 0 if is_good else 1


def _profiles(loaded: Loaded | None) -> dict[str, list[str]]:
    """Issuer → its profile, and what that sets."""
    issuers = loaded.policy.issuers.values() if loaded is not None else ()
    return {one.issuer: [one.profile, *explained(one)] for one in issuers if one.profile}


def _line(problem: Problem) -> str:
    """The problem; on a terminal its place has the colour of how grave it is."""
    place = f"{problem.file}:{problem.line}:{problem.column}"
    colour = YELLOW if problem.is_warning else RED
    return painted(place, colour, sys.stdout) + str(problem).removeprefix(place)


def _row(problem: Problem) -> dict[str, object]:
    row = asdict(problem)
    row["severity"] = "warning" if row.pop("is_warning") else "error"
    return row


def _count(loaded: Loaded) -> str:
    counts = {
        "issuer": len(loaded.policy.issuers),
        "rule": len(loaded.policy.rules),
        "warning": len(loaded.warnings) + len(loaded.dangers),
    }
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items())
