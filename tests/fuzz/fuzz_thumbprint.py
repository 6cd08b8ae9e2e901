"""A thumbprint as somebody wrote it: a diagnosis, whatever it is."""

import datetime as dt
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sidecar.decision.diagnosis import diagnose_thumbprint
from sidecar.proxy.certificates import client_certificate


def _certificate() -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([])).serial_number(1)
    )
    builder = builder.not_valid_before(start).not_valid_after(start + dt.timedelta(days=1))
    return builder.public_key(key.public_key()).sign(key, hashes.SHA256())


_CERTIFICATE = client_certificate(_certificate().public_bytes(Encoding.DER))
_DIGEST = hashlib.sha256(_CERTIFICATE.der)
SEEDS = [b"A" * 43, b"0" * 64, _DIGEST.hexdigest().encode(), _DIGEST.digest(), b"AA:BB", b"==", b"+/+/"]


def target(data: bytes) -> None:
    """Only the thumbprint itself is no mistake."""
    diagnosis = diagnose_thumbprint(data.decode("utf-8", "surrogateescape"), _CERTIFICATE)
    assert diagnosis.sentence
    assert diagnosis.mistake


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
