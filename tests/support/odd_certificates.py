"""Certificates that no library here would make: DER written by hand, signed by a real key.

OpenSSL accepts each of them in a handshake. The names say what is odd; the shapes are those of enterprise authorities
that are older than RFC 5280.
"""

import datetime as dt
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.decision.client_certificate import ClientCertificate
from sidecar.proxy.certificates import client_certificate
from tests.support.pki import IdentityFiles, PrivateKey, make_key, private_key_pem, thumbprint, utc_now

_KEY = make_key()
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
CN, OU, POSTAL_ADDRESS, SAN = "550403", "55040b", "550410", "551d11"
"""Object identifiers, DER in hexadecimal."""


def tlv(tag: int, *contents: bytes) -> bytes:
    """One element (X.690 §8.1)."""
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def attribute(value: bytes, kind: str = CN) -> bytes:
    return tlv(0x30, tlv(0x06, bytes.fromhex(kind)), value)


def name(*values: bytes) -> bytes:
    """A distinguished name of one common name for each value, which is an element."""
    return tlv(0x30, *(tlv(0x31, attribute(value)) for value in values))


def extension(kind: str, value: bytes, critical: bytes = b"") -> bytes:
    return tlv(0x30, tlv(0x06, bytes.fromhex(kind)), critical, tlv(0x04, value))


def alternative_names(*names: bytes) -> bytes:
    return extension(SAN, tlv(0x30, *names))


def utc_time(moment: dt.datetime, zone: bytes = b"Z") -> bytes:
    return tlv(0x17, moment.strftime("%y%m%d%H%M%S").encode() + zone)


PLAIN = name(tlv(0x0C, b"client"))
DNS = tlv(0x82, b"client.example")
CLIENT_AUTH = extension("551d25", tlv(0x30, bytes.fromhex("06082b06010505070302")))


@dataclass(frozen=True, slots=True)
class OddCertificate:
    """A self-signed certificate and its key."""

    subject: bytes = PLAIN
    version: bytes = tlv(0xA0, tlv(0x02, b"\2"))
    serial_number: bytes = b"\1"
    validity: bytes = tlv(
        0x30, utc_time(utc_now() - dt.timedelta(hours=1)), utc_time(utc_now() + dt.timedelta(days=1))
    )
    extensions: tuple[bytes, ...] = (CLIENT_AUTH, alternative_names(DNS))
    key: PrivateKey = _KEY

    @property
    def der(self) -> bytes:
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        rest = tlv(0xA3, tlv(0x30, *self.extensions)) if self.extensions else b""
        signed = tlv(
            0x30,
            self.version,
            tlv(0x02, self.serial_number),
            _ECDSA_SHA256,
            self.subject,
            self.validity,
            self.subject,
            spki,
            rest,
        )
        assert isinstance(self.key, ec.EllipticCurvePrivateKey)
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        return tlv(0x30, signed, _ECDSA_SHA256, tlv(0x03, b"\0", signature))

    @property
    def pem(self) -> bytes:
        return pem(self.der)

    @property
    def key_pem(self) -> bytes:
        return private_key_pem(self.key)

    @property
    def thumbprint(self) -> str:
        return thumbprint(self.der)

    @property
    def presented(self) -> ClientCertificate:
        return client_certificate(self.der)

    def write(self, directory: Path, name: str) -> IdentityFiles:
        """Writes `<name>.crt` and `<name>.key`."""
        files = IdentityFiles(directory / f"{name}.crt", directory / f"{name}.key")
        files.certificate.write_bytes(self.pem)
        files.private_key.touch(mode=0o600)
        files.private_key.write_bytes(self.key_pem)
        return files


def pem(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode()


def _dated(start: bytes, end: bytes) -> bytes:
    return tlv(0x30, start, end)


_START, _END = utc_now() - dt.timedelta(hours=1), utc_now() + dt.timedelta(days=1)

UNREADABLE_SUBJECT: Mapping[str, OddCertificate] = {
    "T61String beyond ASCII": OddCertificate(name(tlv(0x14, b"M\xfcller"))),
    "IA5String with Latin-1": OddCertificate(name(tlv(0x16, b"M\xfcller"))),
    "PrintableString with Latin-1": OddCertificate(name(tlv(0x13, b"M\xfcller"))),
    "an empty relative name": OddCertificate(
        tlv(0x30, tlv(0x31), tlv(0x31, attribute(tlv(0x0C, b"client"))))
    ),
    "a BIT STRING": OddCertificate(name(tlv(0x03, b"\0\1\2"))),
    "a SEQUENCE": OddCertificate(
        tlv(0x30, tlv(0x31, attribute(tlv(0x30, tlv(0x0C, b"street"), tlv(0x0C, b"town")), POSTAL_ADDRESS)))
    ),
    "a NUL": OddCertificate(name(tlv(0x0C, b"client\0.example"))),
}
"""Subjects that do not say what they mean without a guess."""

UNREADABLE_NAMES: Mapping[str, OddCertificate] = {
    "an x400Address": OddCertificate(
        extensions=(CLIENT_AUTH, alternative_names(DNS, tlv(0xA3, tlv(0x30, tlv(0x30)))))
    ),
    "an ediPartyName": OddCertificate(
        extensions=(CLIENT_AUTH, alternative_names(DNS, tlv(0xA5, tlv(0xA1, tlv(0x0C, b"party")))))
    ),
    "a name beyond ASCII": OddCertificate(
        extensions=(CLIENT_AUTH, alternative_names(DNS, tlv(0x82, b"m\xfcller.example")))
    ),
    "a NUL in a name": OddCertificate(
        extensions=(CLIENT_AUTH, alternative_names(DNS, tlv(0x82, b"client.example\0.evil.example")))
    ),
    "two extensions of one kind": OddCertificate(
        extensions=(CLIENT_AUTH, alternative_names(DNS), alternative_names(DNS))
    ),
    "version 2": OddCertificate(version=tlv(0xA0, tlv(0x02, b"\1"))),
    "version 4": OddCertificate(version=tlv(0xA0, tlv(0x02, b"\3"))),
    "names that are no sequence": OddCertificate(extensions=(CLIENT_AUTH, extension(SAN, b"\xff" * 8))),
}
"""Certificates whose alternative names cannot be taken for what they say."""

READABLE: Mapping[str, OddCertificate] = {
    "PrintableString with @": OddCertificate(name(tlv(0x13, b"a@b_c*d&e"))),
    "explicit critical FALSE": OddCertificate(
        extensions=(CLIENT_AUTH, extension(SAN, tlv(0x30, DNS), tlv(0x01, b"\0")))
    ),
    "UTCTime with an offset": OddCertificate(
        validity=_dated(utc_time(_START, b"+0000"), utc_time(_END, b"+0000"))
    ),
    "explicit version 1": OddCertificate(version=tlv(0xA0, tlv(0x02, b"\0")), extensions=()),
    "serial number 0": OddCertificate(serial_number=b"\0"),
    "a negative serial number": OddCertificate(serial_number=b"\xff"),
    "an empty subject": OddCertificate(tlv(0x30)),
    "a long common name": OddCertificate(name(tlv(0x0C, b"c" * 80))),
}
"""Odd as well, and clear."""

ALL: Mapping[str, OddCertificate] = {**UNREADABLE_SUBJECT, **UNREADABLE_NAMES, **READABLE}

REFUSED: Mapping[str, OddCertificate] = {
    "UTF8String that is not UTF-8": OddCertificate(name(tlv(0x0C, b"M\xfcller"))),
    "BMPString cut short": OddCertificate(name(tlv(0x1E, b"\0M\0"))),
    "UTCTime without seconds": OddCertificate(
        validity=_dated(
            tlv(0x17, _START.strftime("%y%m%d%H%MZ").encode()),
            tlv(0x17, _END.strftime("%y%m%d%H%MZ").encode()),
        )
    ),
}
"""What OpenSSL itself does not take for a certificate."""
