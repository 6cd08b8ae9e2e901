"""`sidecar init`: a small configuration with comments, for an issuer that it looks at and an API that is there."""

import argparse
import asyncio
import shlex
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sidecar.command.issuer_look import IssuerFacts, NotLookedAt, checked, look
from sidecar.command.starting_point import StartingPoint
from sidecar.command.terminal import Progress, invocation
from sidecar.settings import SettingsError, load
from sidecar.settings.problem import sanitize
from sidecar.settings.scalars import parse_address
from sidecar.settings.service_sections import upstream_url

_QUESTIONS = {
    "issuer": "Issuer: `iss` of its tokens (https://as.example.com)",
    "audience": "Audience: `aud` of the tokens for this API (https://api.example.com)",
    "upstream": "Where the API listens (http://127.0.0.1:8080)",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "Write a small configuration in report only. Asks for missing options."
    parser.add_argument("--issuer", metavar="URL", help="the issuer of the tokens: `iss`")
    parser.add_argument("--audience", metavar="TEXT", help="the name of the API in the tokens: `aud`")
    parser.add_argument("--upstream", metavar="URL", help="where the API listens: http://127.0.0.1:8080")
    parser.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="the authority of the issuer's TLS certificate"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="the folder for the files (default: this one)",
    )
    parser.add_argument(
        "--address",
        type=_address,
        default="*:8443",
        metavar="HOST:PORT",
        help="where the sidecar listens (default: *:8443)",
    )
    parser.add_argument(
        "--report-only-days",
        type=_days,
        default=14,
        metavar="N",
        help="days until the policy is enforced (default: 14)",
    )
    parser.add_argument("--offline", action="store_true", help="do not contact the issuer")


def _address(text: str) -> tuple[str, int]:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 365:
        raise argparse.ArgumentTypeError(f"{sanitize(text)!r} is not a number of days from 1 to 365")
    return int(text)


class _NotWritten(Exception):
    """Why no configuration was written, and the cure, in one line."""


def execute(arguments: argparse.Namespace) -> int:
    """Ask, look, write, check; 0 when the configuration that was written is good."""
    try:
        point = _starting_point(arguments)
        written = _write(arguments.folder, point.files())
    except (NotLookedAt, _NotWritten) as problem:
        print(f"sidecar init: {problem}", file=sys.stderr)
        return 1
    if point.found is not None:
        print(_account(point.issuer, point.found))
    print("wrote " + ", ".join(map(str, written)))
    service = arguments.folder / "sidecar.yaml"
    try:
        loaded = load(service, absent_files_pass=True, now=time.time())
    except SettingsError as error:
        print(error)
        return 1
    for doubt in (*loaded.dangers, *loaded.warnings):
        print(doubt)
    print(_next(service, point))
    return 0


def _starting_point(arguments: argparse.Namespace) -> StartingPoint:
    for name in ("sidecar.yaml", "policy.yaml", "cases.yaml"):
        if (arguments.folder / name).exists():
            raise _NotWritten(
                f"{arguments.folder / name} exists already: choose another --folder, or remove it"
            )
    issuer = _given(arguments, "issuer", checked)
    audience = _given(arguments, "audience", _audience)
    upstream = _given(arguments, "upstream", _upstream)
    authority = None if arguments.ca_file is None else arguments.ca_file.absolute()
    progress = Progress(sys.stderr)
    progress.tell(f"reading metadata and keys of {issuer} …")
    try:
        found = None if arguments.offline else asyncio.run(look(issuer, authority))
    finally:
        progress.end()
    until = (datetime.now(UTC) + timedelta(days=arguments.report_only_days)).date()
    return StartingPoint(issuer, audience, upstream, authority, arguments.address, until, found)


def _given(arguments: argparse.Namespace, name: str, check: Callable[[str], str]) -> str:
    value: str | None = getattr(arguments, name)
    if value is None:
        if not sys.stdin.isatty():
            raise _NotWritten(
                f"--{name} is missing, and there is no terminal for questions: {_QUESTIONS[name]}"
            )
        try:
            value = input(f"{_QUESTIONS[name]}: ").strip()
        except EOFError:
            raise _NotWritten(f"--{name} is missing") from None
    return check(value)


def _audience(text: str) -> str:
    if not text or not text.isprintable():
        raise _NotWritten(
            "--audience: write `aud` of the tokens for this API, such as https://api.example.com"
        )
    return text


def _upstream(text: str) -> str:
    try:
        return upstream_url(text)
    except ValueError as error:
        raise _NotWritten(f"--upstream: {error}") from None


def _write(folder: Path, files: dict[str, str]) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise _NotWritten(f"{error.filename}: cannot be written: {(error.strerror or '').lower()}") from error
    return [folder / name for name in files]


def _account(issuer: str, found: IssuerFacts) -> str:
    keys = f"{found.keys} key{'' if found.keys == 1 else 's'}"
    algorithms = f" ({', '.join(found.algorithms)})" if found.algorithms else ""
    skipped = f", {found.skipped} more that cannot be used" if found.skipped else ""
    bound = (
        "it says that it binds tokens to certificates"
        if found.binds_to_certificates
        else "it does not say that it binds tokens to certificates (tls_client_certificate_bound_access_tokens):\n"
        "  make sure that it does, for each client, before the policy is enforced"
    )
    return f"{issuer} answers: {keys}{algorithms}{skipped}; {bound}"


def _next(service: Path, point: StartingPoint) -> str:
    sidecar, folder = invocation(anywhere=False), shlex.quote(str(service.parent))
    config = f"--config {shlex.quote(str(service))}"
    return f"""
Next:
  1. Save the server's certificate and key as {service.parent / "tls"}/server.crt and .key. To try it out:
       {sidecar} certificate authority --folder {folder}/tls
       {sidecar} certificate server --folder {folder}/tls
  2. {sidecar} check {config}
  3. {sidecar} test {config} {folder}/cases.yaml
  4. {sidecar} run {config} > access.log
  5. {sidecar} report access.log     # which clients to fix before {point.until}, when the policy is enforced
docs/tutorial.md explains these steps."""
