"""The certificate authorities for clients: read one by one, so that an unreadable one does not affect the others."""

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
"""Maximum bytes of authority names that a handshake sends to its client; Java refuses messages over 32 KiB."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """The certificates of a file."""

    certificates: tuple[crypto.X509, ...]
    broken: tuple[int, ...]
    """Line numbers at which a certificate begins that OpenSSL cannot read."""

    @property
    def readable(self) -> list[Certificate]:
        """The certificates, parsed with cryptography."""
        return [certificate_of(one) for one in self.certificates]

    @property
    def are_too_many_to_name(self) -> bool:
        """Whether the authorities' names exceed what a handshake may hold: then none is sent to clients, which RFC
        8446 §4.2.4 and RFC 5246 §7.4.4 allow.
        """
        return sum(_size(one) + 2 for one in self.certificates) > _NAMES


def read_authorities(pem: bytes) -> Authorities:
    """All readable certificates of a PEM file. Raises `ValueError` if there is none."""
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
    """Whether a certificate may issue others (RFC 5280 §4.2.1.9)."""
    try:
        extensions = certificate.to_cryptography().extensions
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False


def is_root(certificate: crypto.X509) -> bool:
    """Whether the subject of a certificate is also its issuer."""
    certificate_ptr = certificate._x509
    subject, issuer = _lib.X509_get_subject_name(certificate_ptr), _lib.X509_get_issuer_name(certificate_ptr)
    return bool(_lib.X509_NAME_cmp(subject, issuer) == 0)


def _size(certificate: crypto.X509) -> int:
    """Length of the subject's name in DER, in bytes."""
    return int(_lib.i2d_X509_NAME(_lib.X509_get_subject_name(certificate._x509), _ffi.NULL))
