"""Reads certificates with OpenSSL: whether there is one, and its validity period.

`decision.certificate` reads the rest, and refuses nothing that OpenSSL accepts.
"""

from calendar import timegm
from collections.abc import Iterator
from typing import Any, Final

from OpenSSL import crypto
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from sidecar.decision.certificate import NEVER_VALID, Certificate
from sidecar.decision.client_certificate import ClientCertificate

_KINDS: Final = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")
"""The PEM labels that OpenSSL accepts for a certificate."""
_BEGIN: Final = b"-----BEGIN "
_DASHES: Final = b"-----"


class UnusableCertificate(ValueError):
    """OpenSSL finds no certificate; the message is a few words and contains nothing of the file."""


def presented(certificate: crypto.X509) -> ClientCertificate:
    """The client certificate of a completed handshake."""
    return ClientCertificate(
        crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate), validity(certificate)
    )


def client_certificate(der: bytes) -> ClientCertificate:
    """A certificate given as input, without a handshake. Raises `UnusableCertificate`."""
    return presented(_loaded(crypto.FILETYPE_ASN1, der, "no certificate"))


def certificates(data: bytes, *, pem_only: bool = False) -> list[Certificate]:
    """All certificates of a file, PEM or DER, at least one. Raises `UnusableCertificate`, whose message names the
    line.
    """
    if _BEGIN not in data and not pem_only:
        return [certificate_of(_loaded(crypto.FILETYPE_ASN1, data, "no PEM or DER certificate"))]
    found = [
        certificate_of(_loaded(crypto.FILETYPE_PEM, block, f"line {line}: a broken certificate"))
        for line, block in _blocks(data)
    ]
    if not found:
        otherwise = "no PEM certificate" if pem_only else "no PEM or DER certificate"
        raise UnusableCertificate("a key, not a certificate" if b"KEY-----" in data else otherwise)
    return found


def validity(certificate: crypto.X509) -> tuple[float, float]:
    """Validity period in seconds since the epoch; `NEVER_VALID` if OpenSSL cannot determine it."""
    x509 = certificate._x509  # noqa: SLF001 — as in `tls`: the binding reads any time zone
    start, end = _moment(_lib.X509_getm_notBefore(x509)), _moment(_lib.X509_getm_notAfter(x509))
    return NEVER_VALID if start is None or end is None else (start, end)


def certificate_of(x509: crypto.X509) -> Certificate:
    """A certificate parsed by OpenSSL, for `decision.certificate`."""
    return Certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, x509), validity(x509))


def _loaded(kind: int, data: bytes, otherwise: str) -> crypto.X509:
    try:
        return crypto.load_certificate(kind, data)
    except crypto.Error:
        raise UnusableCertificate(otherwise) from None


def _blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The certificates of a PEM file (RFC 7468), each with its line number."""
    at, line = 0, 1
    while (start := data.find(_BEGIN, at)) >= 0:
        line += data.count(b"\n", at, start)
        at = start + len(_BEGIN)
        label = data[at : data.find(_DASHES, at)]
        if label not in _KINDS:
            continue
        end = b"-----END " + label + _DASHES
        stop = data.find(end, at)
        if stop < 0:
            raise UnusableCertificate(f"line {line}: a certificate without an end")
        yield line, data[start : stop + len(end)] + b"\n"


def _moment(time: Any) -> float | None:
    """An ASN1_TIME in seconds since the epoch; OpenSSL parses its time zone and seconds."""
    made = _ffi.new("ASN1_GENERALIZEDTIME**")
    if _lib.ASN1_TIME_to_generalizedtime(time, made) == _ffi.NULL:
        _lib.ERR_clear_error()
        return None
    try:
        text = _ffi.string(_lib.ASN1_STRING_get0_data(_ffi.cast("ASN1_STRING*", made[0])))
        # YYYYMMDDHHMMSSZ, whatever the original form
        return float(timegm((int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2)))))
    except ValueError:
        return None
    finally:
        _lib.ASN1_GENERALIZEDTIME_free(made[0])


def certifies(certificate: Certificate, public_key: bytes) -> bool:
    """Whether a certificate has this public key: SubjectPublicKeyInfo, DER (RFC 5280 §4.1.2.7)."""
    try:
        key = _loaded(crypto.FILETYPE_ASN1, certificate.der, "no certificate").get_pubkey()
    except crypto.Error:
        return False  # a key that OpenSSL does not know
    return crypto.dump_publickey(crypto.FILETYPE_ASN1, key) == public_key
