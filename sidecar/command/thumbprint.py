"""`sidecar thumbprint`: the value that `cnf` `x5t#S256` must have for a certificate (RFC 8705 §3.1)."""

import argparse
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from sidecar.decision.strict import base64url_text

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
    print(thumbprint(found[0]))
    for other in found[1:]:
        print(f"also in the file: {thumbprint(other)}  {other.subject.rfc4514_string()}", file=sys.stderr)
    return 0


def thumbprint(certificate: x509.Certificate) -> str:
    """base64url, without padding, of the SHA-256 of the DER encoding (RFC 8705 §3.1)."""
    return base64url_text(certificate.fingerprint(SHA256()))


def certificates(path: Path) -> list[x509.Certificate]:
    """Every certificate of a PEM or DER file, at least one; raises `CertificateUnreadable`."""
    data = _content(path)
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except ValueError:
        what = "a key, not a certificate" if b"KEY-----" in data else "no PEM or DER certificate"
        raise CertificateUnreadable(what) from None


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
