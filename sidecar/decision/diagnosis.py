"""Names the probable mistake behind a certificate thumbprint that does not match (RFC 8705 §3.1).

A thumbprint goes wrong in two ways that combine: something else was hashed, or the hash was written in another way.
So every likely thing is hashed, the value is read in every likely way, and the pair that meets names the mistake.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1, sha256

from sidecar.decision.certificate import Certificate, Unreadable
from sidecar.decision.strict import Malformed, base64url

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[: ]?)+")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a thumbprint really is."""

    mistake: str
    """A stable short name: `none`, `hex`, `padded`, `base64`, `hex_in_base64`, `sha1`, `pem_text`, `header_text`,
    `nothing`, `public_key`, `to_be_signed`, `issuing_ca`, `renewed`, `another_certificate`, `unknown`."""
    sentence: str
    """The same in plain words, for whoever has to correct it."""


def diagnose_thumbprint(
    expected: str,
    certificate: Certificate,
    others: Sequence[Certificate] = (),
    header_texts: Sequence[bytes] = (),
) -> Diagnosis:
    """What `expected`, the token's `x5t#S256`, is, when it should be the thumbprint of `certificate`.

    `others` are certificates it could have been mistaken for: the rest of the file, authorities, the server's own,
    earlier ones of the same client. `header_texts` is what a header field may have said of the certificate.
    """
    readings = list(_readings(expected))
    for hashed, mistake, digest in _candidates(certificate, others, header_texts):
        for written, reading, value in readings:
            if value == digest:
                if mistake in _REMEDIES and not reading:
                    return _bound_elsewhere(hashed, mistake, certificate)
                return _named(hashed, mistake, written, reading)
    if any(len(value) == _DIGEST_BYTES and not reading for _, reading, value in readings):
        return _bound_elsewhere("another certificate, none of those known here", "unknown", certificate)
    if readings:
        return Diagnosis("unknown", "The value is the digest of nothing known here.")
    return Diagnosis("unknown", "The value is no digest in any usual encoding.")


_DIGEST_BYTES = 32
_ASK_ANEW = "Present the certificate with which the token was asked for, or ask for a new token with this one"
_REMEDIES = {
    "unknown": _ASK_ANEW,
    "another_certificate": _ASK_ANEW,
    "renewed": "After a renewal, ask for a new token",
    "issuing_ca": "The authorization server must take the client's own certificate, not the next of its chain",
}
"""What to do when the value is a thumbprint as it should be, only of another certificate."""


def _bound_elsewhere(bound_to: str, mistake: str, presented: Certificate) -> Diagnosis:
    return Diagnosis(
        mistake,
        f"The token is bound to {bound_to}. The client presents that of {presented.called}, "
        f"whose thumbprint is {presented.thumbprint_text}. {_REMEDIES[mistake]} (RFC 8705 §3).",
    )


def _named(hashed: str, mistake: str, written: str, reading: str) -> Diagnosis:
    if not mistake and not reading:
        return Diagnosis("none", "The value is the thumbprint of the certificate.")
    what = f"The value is the SHA-256 of {hashed}" if mistake != "sha1" else f"The value is {hashed}"
    how = f", written {written}" if reading else ""
    should = (
        "It should be the SHA-256 of the client's certificate in DER, written in base64url without padding"
    )
    return Diagnosis(mistake or reading, f"{what}{how}. {should} (RFC 8705 §3.1).")


def _readings(text: str) -> Iterator[tuple[str, str, bytes]]:
    """Every way to read a digest: in words, the mistake's name, and the bytes."""
    try:
        data = base64url(text)
        yield "in base64url", "", data
        if _HEX.fullmatch(data.decode("ascii", "replace")):
            yield "in base64url of hexadecimal text", "hex_in_base64", _unhex(data.decode())
    except Malformed:
        pass
    stripped = text.strip()
    if _HEX.fullmatch(stripped):
        yield "in hexadecimal", "hex", _unhex(stripped)
    try:
        data = b64decode(stripped.translate(_TO_BASE64) + "=" * (-len(stripped) % 4), validate=True)
    except ValueError:
        return
    plain = "+" in text or "/" in text
    yield (
        ("in base64 with + and /", "base64", data)
        if plain
        else ("with padding, spaces or stray bits", "padded", data)
    )
    if _HEX.fullmatch(data.decode("ascii", "replace")):
        yield "in base64 of hexadecimal text", "hex_in_base64", _unhex(data.decode())


_TO_BASE64 = str.maketrans("-_", "+/")


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", "").replace(" ", ""))


def _candidates(
    certificate: Certificate, others: Sequence[Certificate], header_texts: Sequence[bytes]
) -> Iterator[tuple[str, str, bytes]]:
    """Every likely thing: in words, the mistake's name (empty for the right one), and its digest."""
    yield "the certificate", "", certificate.thumbprint
    yield "the SHA-1 of the certificate (x5t, not x5t#S256)", "sha1", _sha1(certificate.der)
    for text in _texts(b"CERTIFICATE", certificate.der):
        yield "the certificate's PEM text", "pem_text", _sha256(text)
    for text in header_texts:
        yield "the header field that told of the certificate, as it stands", "header_text", _sha256(text)
    yield "nothing: no certificate came to where it was hashed", "nothing", _sha256(b"")
    yield 'the word "(null)": no certificate came to where it was hashed', "nothing", _sha256(b"(null)")
    fields = certificate.fields
    if not isinstance(fields, Unreadable):
        yield "the part of the certificate that is signed", "to_be_signed", _sha256(fields.signed)
        yield "the public key", "public_key", _sha256(fields.public_key)
        for text in _texts(b"PUBLIC KEY", fields.public_key):
            yield "the public key's PEM text", "public_key", _sha256(text)
    for other in others:
        if other.der != certificate.der:
            hashed, mistake = _relation(other, certificate)
            yield hashed, mistake, other.thumbprint


def _sha256(data: bytes | memoryview) -> bytes:
    return sha256(data).digest()


def _sha1(data: bytes) -> bytes:
    return sha1(data, usedforsecurity=False).digest()


def _texts(label: bytes, der: bytes | memoryview) -> Iterator[bytes]:
    """A PEM file (RFC 7468) as tools and editors leave it."""
    body = b64encode(der)
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    pem = b"\n".join((b"-----BEGIN %b-----" % label, *lines, b"-----END %b-----" % label))
    for text in (pem, body):
        yield text
        yield text + b"\n"
    yield pem.replace(b"\n", b"\r\n") + b"\r\n"
    yield pem.replace(b"\n", b"\r\n")


def _relation(other: Certificate, certificate: Certificate) -> tuple[str, str]:
    name, theirs, ours = other.called, other.fields, certificate.fields
    if not (isinstance(theirs, Unreadable) or isinstance(ours, Unreadable)):
        if theirs.subject == ours.subject:
            return f"another certificate of the same subject, serial number {other.serial_number}", "renewed"
        if theirs.subject == ours.issuer:
            return f"the certificate of the authority that issued the client's, {name}", "issuing_ca"
    return f"another certificate, that of {name}", "another_certificate"
