"""The authorities of clients: read one by one, so that one that is broken takes no other with it."""

import re
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from OpenSSL import crypto
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from sidecar.decision.certificate import Certificate
from sidecar.proxy.certificates import certificate_of

_BLOCK: Final = re.compile(
    rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----.*?(?:-----END \1-----|\Z)", re.DOTALL
)
_NAMES: Final = 16 * 1024
"""Bytes of names of authorities that a handshake tells its client; Java refuses messages past 32 KiB."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """What a file holds."""

    certificates: tuple[crypto.X509, ...]
    broken: tuple[int, ...]
    """Lines at which a certificate begins that OpenSSL cannot read."""

    @property
    def readable(self) -> list[Certificate]:
        """The certificates, for those who look into them."""
        return [certificate_of(one) for one in self.certificates]

    @property
    def are_too_many_to_name(self) -> bool:
        """Whether their names are more than a handshake may hold: then no client is told them, as RFC 8446 §4.2.4 and
        RFC 5246 §7.4.4 allow.
        """
        return sum(_size(one) + 2 for one in self.certificates) > _NAMES


def read_authorities(pem: bytes) -> Authorities:
    """Every certificate of a PEM file. Raises `ValueError` when there is none that can be read."""
    good: list[crypto.X509] = []
    broken: list[int] = []
    for block in _BLOCK.finditer(pem):
        try:
            good.append(crypto.load_certificate(crypto.FILETYPE_PEM, block.group()))
        except crypto.Error:
            broken.append(pem.count(b"\n", 0, block.start()) + 1)
    if not good:
        raise ValueError("ca_file holds no PEM certificate, or only broken ones")
    return Authorities(tuple(good), tuple(broken))


def is_authority(certificate: crypto.X509) -> bool:
    """Whether a certificate says that it may issue others (RFC 5280 §4.2.1.9)."""
    try:
        extensions = certificate.to_cryptography().extensions
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False


def is_root(certificate: crypto.X509) -> bool:
    """Whether a certificate names itself as its issuer."""
    certificate_ptr = certificate._x509
    subject, issuer = _lib.X509_get_subject_name(certificate_ptr), _lib.X509_get_issuer_name(certificate_ptr)
    return bool(_lib.X509_NAME_cmp(subject, issuer) == 0)


def _size(certificate: crypto.X509) -> int:
    """Bytes of the subject's name, DER."""
    return int(_lib.i2d_X509_NAME(_lib.X509_get_subject_name(certificate._x509), _ffi.NULL))
