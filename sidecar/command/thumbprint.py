"""`sidecar thumbprint`: the value that `cnf` `x5t#S256` must have for a certificate (RFC 8705 §3.1)."""

import argparse
import sys
from pathlib import Path

from sidecar.decision.certificate import Certificate
from sidecar.proxy.certificates import UnusableCertificate
from sidecar.proxy.certificates import certificates as certificates_in
from sidecar.telemetry.access import visible

_LARGEST = 1024 * 1024


class CertificateUnreadable(Exception):
    """A file that holds no certificate; the message is one line."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "certificate", type=Path, metavar="CERT", help="a PEM or DER file; - for standard input"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print the thumbprint of the first certificate; 1 when there is none."""
    try:
        found = certificates(arguments.certificate)
    except CertificateUnreadable as error:
        print(f"{arguments.certificate}: {error}", file=sys.stderr)
        return 1
    print(found[0].thumbprint_text)
    for other in found[1:]:
        print(f"also in the file: {other.thumbprint_text}  {visible(other.called)}", file=sys.stderr)
    return 0


def certificates(path: Path) -> list[Certificate]:
    """Every certificate of a PEM or DER file, at least one; raises `CertificateUnreadable`."""
    try:
        return certificates_in(_content(path))
    except UnusableCertificate as problem:
        raise CertificateUnreadable(str(problem)) from None


def _content(path: Path) -> bytes:
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
    except OSError as error:
        raise CertificateUnreadable(f"cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise CertificateUnreadable("larger than 1 MiB")
    return data
