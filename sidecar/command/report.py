"""`sidecar report < access.log`: who is ready for enforcing, and whom to call before it starts.

Reads the JSON access lines, whatever is between them or in front of them, and counts per client: as the sidecar writes
them, and as `kubectl logs --prefix`, compose and the container runtimes hand them on.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from sidecar.command.client_report import HEAD, NUMBERS, ClientReport
from sidecar.decision.confirmation import KEY, METHODS, held_in
from sidecar.telemetry.adoption import UNKNOWN, Client, Clients, ordered

LINE: Final = 1024 * 1024
"""Longest line that is looked at, in characters."""
CLIENTS: Final = 100_000
"""Largest number of clients that are counted separately."""


@dataclass(slots=True)
class Report:
    """All clients of a log."""

    clients: Clients[str] = field(default_factory=lambda: Clients(CLIENTS, ""))
    registered: ClientReport = field(default_factory=ClientReport)
    """Those of an authorization server."""
    lines: int = 0
    """Access lines counted."""
    ignored: int = 0
    """Other lines."""
    _begun: str = ""
    """The beginning of a line that a container runtime took apart."""

    def add(self, line: str) -> None:
        """Count one line."""
        runtime = _RUNTIME.match(line)
        if runtime is not None:
            line = self._begun + line[runtime.end() :].rstrip("\n")
            self._begun = line[:LINE] if runtime["tag"] == "P" else ""
            if self._begun:
                return
        record = _record(line)
        if record is None:
            self.ignored += 1
            return
        self.lines += 1
        self.registered.add(record)
        labels = (_text(record, "rule"), _text(record, "outcome"), _text(record, "reason"))
        # Only where the log names a verified token there is a binding to count.
        failed = _failed(record)
        bound = held_in(record, failed) if _text(record, "issuer") else None
        by_key = bool(METHODS[KEY].held(record, failed))
        self.clients[_name(record)].count(_text(record, "time"), labels, failed, bound, by_key=by_key)

    def ordered(self) -> list[Client[str]]:
        """All clients, the most urgent first."""
        return ordered(self.clients.values())


_RUNTIME: Final = re.compile(r"\S{10,64} (?:stdout|stderr) (?P<tag>[PF]) ")
"""What a container runtime puts in front (CRI logging format): of a long line each part but the last has P."""
_PREFIX: Final = 512
"""Most characters that may stand in front of a record: the names of a Pod and a container, or of a service."""


def _record(line: str) -> dict[str, Any] | None:
    """The record in a line, with or without a prefix, or inside the log member of a line of Docker's."""
    begin = line.find("{", 0, _PREFIX)
    if begin < 0:
        return None
    try:
        record = json.loads(line[begin:])
    except (ValueError, RecursionError):
        return None
    if isinstance(record, dict) and isinstance(record.get("log"), str) and "event" not in record:
        try:
            record = json.loads(record["log"])
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) and record.get("event") == "request" else None


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _name(record: dict[str, Any]) -> str:
    keys = ("client_id", "subject", "certificate_subject")
    return next((text for key in keys if (text := _text(record, key))), UNKNOWN)


def _failed(record: dict[str, Any]) -> list[str]:
    """Reasons of the checks that failed."""
    failures = record.get("failures")
    rows = failures if isinstance(failures, list) else []
    named = [one.get("reason") for one in rows if isinstance(one, dict)]
    return [reason for reason in named if isinstance(reason, str)]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "logs", nargs="*", type=Path, metavar="LOG", help="access logs (default: standard input)"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")


def execute(arguments: argparse.Namespace) -> int:
    """Count and print; 1 when a log cannot be read or holds no access line."""
    report = Report()
    try:
        for line in _lines(arguments.logs):
            report.add(line)
    except OSError as error:
        print(f"{error.filename}: cannot be read: {error.strerror}", file=sys.stderr)
        return 1
    if not report.lines:
        print("no access lines: is it the sidecar's log, in JSON?", file=sys.stderr)
        return 1
    if arguments.format == "json":
        print(json.dumps(_rows(report), indent=2))
    else:
        print("\n".join(_table(report.ordered())))
        registered = report.registered.ordered()
        if registered:
            rows = [HEAD, *(tuple(map(_printable, one.cells())) for one in registered)]
            print("", "clients of the authorization server", *_aligned_all(rows, NUMBERS), sep="\n")
    return 0


def _rows(report: Report) -> list[dict[str, Any]]:
    """Each client; of one that the authorization server's endpoints saw, what they saw."""
    seen = {one.client_id: one.row() for one in report.registered.ordered()}
    rows = [client.row() for client in report.ordered()]
    return [
        row | ({"client_authentication": seen[row["client"]]} if row["client"] in seen else {})
        for row in rows
    ]


def _lines(logs: Iterable[Path]) -> Iterator[str]:
    paths = list(logs)
    if not paths:
        yield from _bounded(sys.stdin)
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from _bounded(file)


def _bounded(file: TextIO) -> Iterator[str]:
    """Lines; of one that is too long only what no parser takes for a record."""
    while line := file.readline(LINE):
        yield line


_COLUMNS: Final = (
    "client",
    "bound",
    "by key",
    "unbound",
    "mismatched",
    "would deny",
    "denied",
    "last seen",
    "reasons",
)


def _table(clients: Iterable[Client[str]]) -> list[str]:
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for one in clients:
        numbers = map(str, (one.bound, one.by_key, one.unbound, one.mismatched, one.would_deny, one.denied))
        reasons = ", ".join(f"{reason} {count}" for reason, count in one.row()["reasons"].items())
        rows.append((_printable(one.client), *numbers, _printable(one.last_seen), _printable(reasons)))
    return _aligned_all(rows, range(1, 7))


def _aligned_all(rows: Sequence[tuple[str, ...]], numbers: range) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_aligned(row, widths, numbers) for row in rows]


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:120]


def _aligned(row: tuple[str, ...], widths: list[int], numbers: range) -> str:
    """Numbers to the right, words to the left."""
    cells = [
        cell.rjust(width) if at in numbers else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
