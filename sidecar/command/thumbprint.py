"""`sidecar thumbprint`: the value that `cnf` must have for a certificate (`x5t#S256`, RFC 8705 §3.1) or, with `--jwk`,
for a key (`jkt`, RFC 9449 §6.1).
"""

import argparse
import sys
from pathlib import Path

from sidecar.decision.certificate import Certificate
from sidecar.decision.proof import thumbprint_of
from sidecar.decision.strict import Malformed, base64url_text, json_object
from sidecar.proxy.certificates import UnusableCertificate
from sidecar.proxy.certificates import certificates as certificates_in
from sidecar.telemetry.access import visible

_LARGEST = 1024 * 1024


class CertificateUnreadable(Exception):
    """A file that holds no certificate, or no key; the message is one line."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "certificate", type=Path, metavar="FILE", help="a PEM or DER file; - for standard input"
    )
    parser.add_argument(
        "--jwk", action="store_true", help="FILE is a JSON Web Key: print its `jkt` (RFC 7638)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print the thumbprint of the first certificate; 1 when there is none."""
    try:
        if arguments.jwk:
            print(key_thumbprint(arguments.certificate))
            return 0
        found = certificates(arguments.certificate)
    except CertificateUnreadable as error:
        print(f"{arguments.certificate}: {error}", file=sys.stderr)
        return 1
    print(found[0].thumbprint_text)
    for other in found[1:]:
        print(f"also in the file: {other.thumbprint_text}  {visible(other.called)}", file=sys.stderr)
    return 0


def key_thumbprint(path: Path) -> str:
    """The `jkt` of a JWK, public or private: only what makes the public key counts. Raises `CertificateUnreadable`."""
    try:
        return base64url_text(thumbprint_of(json_object(_content(path))))
    except Malformed as problem:
        raise CertificateUnreadable(f"is no JSON Web Key: {problem}") from None


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
