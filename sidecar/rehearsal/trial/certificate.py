"""Client certificates for cases, made for the run and forgotten after it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sidecar.decision.request import ClientCertificate
from sidecar.proxy.certificates import certificates as certificates_in
from sidecar.proxy.certificates import client_certificate
from sidecar.settings.case_sections import CaseCertificate

_DAY = 86400.0
_HOUR = 3600.0

Issue = Callable[[str], ClientCertificate]
"""The certificate of a name, the same one each time."""


def authority(certificates: Mapping[str, CaseCertificate], now: float) -> Issue:
    """Issues the certificates of one case file, as of `now` (seconds since the epoch)."""

    @cache
    def issue(name: str) -> ClientCertificate:
        wanted = certificates.get(name, CaseCertificate())
        if wanted.file is not None:
            return client_certificate(certificates_in(wanted.file.read_bytes())[0].der)
        return client_certificate(_certificate(name, wanted, now).public_bytes(Encoding.DER))

    return issue


def _certificate(name: str, wanted: CaseCertificate, now: float) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _distinguished(wanted.common_name or name)
    issuer_key, issuer = key, subject
    if wanted.issued_by is not None:
        issuer_key, issuer = ec.generate_private_key(ec.SECP256R1()), _distinguished(wanted.issued_by)
    moment = datetime.fromtimestamp(now, UTC).replace(microsecond=0)
    expiry = moment + timedelta(seconds=_DAY if wanted.expires_in is None else wanted.expires_in)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(moment, expiry) - timedelta(seconds=_HOUR))
        .not_valid_after(expiry)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    names: list[x509.GeneralName] = [
        *map(x509.DNSName, wanted.san_dns),
        *map(x509.UniformResourceIdentifier, wanted.san_uri),
        *map(x509.RFC822Name, wanted.san_email),
    ]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, SHA256())


def _distinguished(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
