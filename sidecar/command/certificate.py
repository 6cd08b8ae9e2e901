"""`sidecar certificate`: an authority, a server's and clients' certificates, for trying out."""

import argparse
import re
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from sidecar.settings.problem import sanitize
from sidecar.trust.certification import (
    Identity,
    Subject,
    Use,
    read_identity,
    server_name,
    write_identity,
)

_AUTHORITY = "authority"
_LONGEST = 397
"""Days."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class _NotMade(Exception):
    """Why no certificate was made, and the cure."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    uses = tuple(use.value for use in (Use.AUTHORITY, Use.SERVER, Use.CLIENT))
    parser.description = (
        "Make a key and a certificate for try-outs. Never use them in production: the keys are not protected."
    )
    parser.add_argument("kind", choices=uses, help="what the certificate is for")
    parser.add_argument("--folder", type=Path, default=Path("tls"), metavar="DIR", help="default: tls")
    parser.add_argument(
        "--name", type=_name, help="name of the files, and in the certificate (default: the kind)"
    )
    parser.add_argument(
        "--dns",
        action="append",
        default=[],
        metavar="NAME",
        help="a DNS name, or an IP address; may be repeated",
    )
    parser.add_argument(
        "--uri",
        action="append",
        default=[],
        metavar="URI",
        help="a URI, such as a SPIFFE ID; may be repeated",
    )
    parser.add_argument(
        "--days", type=_days, default=30, metavar="N", help="how long it is valid (default: 30)"
    )
    parser.add_argument(
        "--self-signed",
        action="store_true",
        help="sign it with its own key, without an authority (RFC 8705 §2.2)",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{sanitize(text)!r} is not a file name: letters, digits, '.', '_' and '-'"
        )
    return text


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{sanitize(text)!r} is not a number of days from 1 to {_LONGEST}")
    return int(text)


def execute(arguments: argparse.Namespace) -> int:
    """Make it; 0 when it is written, else 1."""
    try:
        made = _made(arguments)
    except _NotMade as problem:
        print(f"sidecar certificate: {problem}", file=sys.stderr)
        return 1
    issuer = made.certificate.issuer.rfc4514_string()
    print(
        f"certificate  {made.certificate_file}: until {made.certificate.not_valid_after_utc:%Y-%m-%d}, by {issuer}"
    )
    print(f"private key  {made.key_file}")
    print(f"x5t#S256     {made.thumbprint}")
    print("For try-outs, never for production: the keys are not protected.", file=sys.stderr)
    return 0


def _made(arguments: argparse.Namespace) -> Identity:
    use, folder = Use(arguments.kind), arguments.folder
    name = arguments.name or use.value
    for file in (folder / f"{name}.crt", folder / f"{name}.key"):
        if file.exists() and not arguments.force:
            raise _NotMade(f"{file} exists already: choose another --name, or replace it with --force")
    authority = None if use is Use.AUTHORITY or arguments.self_signed else _authority(folder)
    subject = _subject(use, name, arguments)
    if authority is not None:
        subject = _within(subject, authority, folder)
    folder.mkdir(parents=True, exist_ok=True)
    return write_identity(folder, name, subject, authority)


def _subject(use: Use, name: str, arguments: argparse.Namespace) -> Subject:
    hosts = arguments.dns or (["localhost", "127.0.0.1", "::1"] if use is Use.SERVER else [])
    try:
        names = (*map(server_name, hosts), *map(x509.UniformResourceIdentifier, arguments.uri))
    except ValueError:
        raise _NotMade(
            "names in a certificate are written in ASCII: xn--… for a DNS name, %… in a URI"
        ) from None
    now = datetime.now(UTC).replace(microsecond=0)
    # A little in the past: the clock that judges it may be behind.
    return Subject(name, use, now - timedelta(minutes=5), now + timedelta(days=arguments.days), names)


def _authority(folder: Path) -> Identity:
    try:
        return read_identity(folder, _AUTHORITY)
    except FileNotFoundError as error:
        first = f"sidecar certificate authority --folder {shlex.quote(str(folder))}"
        raise _NotMade(
            f"{error.filename} does not exist: make it first with `{first}`, or use --self-signed"
        ) from error
    except OSError as error:
        raise _NotMade(f"{error.filename} cannot be read: {(error.strerror or 'unknown').lower()}") from error
    except (ValueError, TypeError) as error:
        again = "make new ones with `sidecar certificate authority --force`"
        raise _NotMade(
            f"{folder / _AUTHORITY}.crt and .key are not a pair that this command made: {again}"
        ) from error


def _within(subject: Subject, authority: Identity, folder: Path) -> Subject:
    """Valid no longer than who signs it."""
    end = authority.certificate.not_valid_after_utc
    if end <= subject.not_before:
        again = f"sidecar certificate authority --force --folder {shlex.quote(str(folder))}"
        raise _NotMade(
            f"{authority.certificate_file} expired on {end:%Y-%m-%d}: make a new one with `{again}`"
        )
    return Subject(
        subject.common_name, subject.use, subject.not_before, min(subject.not_after, end), subject.names
    )
