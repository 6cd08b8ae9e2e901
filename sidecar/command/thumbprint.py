"""`sidecar thumbprint`: the value that `cnf` must have for a certificate (`x5t#S256`, RFC 8705 §3.1) or, with `--jwk`,
for a key (`jkt`, RFC 9449 §6.1).
"""

import argparse
import re
import sys
from pathlib import Path

from sidecar.decision.certificate import Certificate
from sidecar.decision.proof_header import thumbprint_of
from sidecar.decision.strict import Malformed, base64url_text, json_object
from sidecar.http.certificate_field import CertificateFieldMalformed, CertificateFormat, parse
from sidecar.http.certificate_likeness import likeness
from sidecar.proxy.certificates import UnusableCertificate
from sidecar.proxy.certificates import certificates as certificates_in
from sidecar.telemetry.access import visible

_LARGEST = 1024 * 1024
_FIELD_NAME = re.compile(rb"\A[A-Za-z-]+:[ \t]+")
"""A line of a header, pasted with its name."""


class CertificateUnreadable(Exception):
    """A file that holds no certificate, or no key; the message is one line."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "certificate",
        type=Path,
        metavar="FILE",
        help="a PEM or DER file, or a proxy's field; - for standard input",
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
        raise CertificateUnreadable(f"is not a JSON Web Key: {problem}") from None


def certificates(path: Path) -> list[Certificate]:
    """Every certificate of a PEM or DER file, or of a proxy's field, at least one; raises `CertificateUnreadable`."""
    data = _content(path)
    try:
        return certificates_in(data)
    except UnusableCertificate as problem:
        value = _FIELD_NAME.sub(b"", data.strip(), count=1)
        found = of_field(value)
        if found is not None:
            print(f"read as {found[0].value}", file=sys.stderr)
            return found[1]
        like = likeness(value)
        raise CertificateUnreadable(f"{problem}: {like.sentence}" if like else str(problem)) from None


def of_field(value: bytes) -> tuple[CertificateFormat, list[Certificate]] | None:
    """The certificates of a value as a proxy sends it (RFC 9440 and others); None when it is none."""
    for form in CertificateFormat:
        try:
            told = parse(form, [value])
            if told is not None:
                ders = (told.leaf, *told.chain)
                return form, [one for der in ders for one in certificates_in(der)]
        except (CertificateFieldMalformed, UnusableCertificate):
            continue
    return None


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
