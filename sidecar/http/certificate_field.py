"""Reads and writes a client certificate in a header field, as proxies that terminate TLS send it. Pure.

| format | value | sent by |
|---|---|---|
| `rfc9440` | `:base64 of DER:`; the chain in a field of its own (RFC 9440 §2) | Google, Cloudflare |
| `xfcc` | one element with `Cert="percent-encoded PEM"`, and `Chain=` | Envoy, meshes made of it |
| `pem_urlencoded` | percent-encoded PEM, the leaf first | nginx, AWS ALB |
| `pem_one_line` | PEM with spaces in place of line ends, the leaf first | Apache |
| `der_base64` | base64 of DER, nothing around it | HAProxy, Traefik |

The format is configured and never guessed: a value in another format is refused, and the refusal names the format that
it resembles. An ambiguous value is refused. The bytes of a certificate are those received: nothing is encoded again, so
a thumbprint is that of the certificate that the client sent.
"""

import re
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Sequence
from enum import Enum
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from sidecar.http.certificate_likeness import likeness

LONGEST: Final = 16384
"""Maximum bytes of a value; the chain's own field may have as many again."""
LONGEST_CHAIN: Final = 8
"""Maximum number of certificates after the leaf."""

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}\Z")
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"
_UNESCAPED: Final = re.compile(rb"(?:[A-Za-z0-9\-._~!*'()+/=]|%[0-9A-Fa-f]{2})+\Z")
_PAIR: Final = re.compile(
    rb'([A-Za-z]+)=(?:"((?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*)"|([^\s",;=\x00-\x1f\x7f]*))'
)
_TOLD_BY_THE_CLIENT: Final = frozenset({b"subject", b"uri", b"dns"})
"""Keys of an XFCC element whose values the client's certificate determines; Envoy puts them after the others."""


class CertificateFormat(Enum):
    """The encoding of a certificate in a field."""

    RFC9440 = "rfc9440"
    XFCC = "xfcc"
    PEM_URLENCODED = "pem_urlencoded"
    PEM_ONE_LINE = "pem_one_line"
    DER_BASE64 = "der_base64"


class FieldCertificates(NamedTuple):
    """The certificates of a field."""

    leaf: bytes
    """DER, as received."""
    chain: tuple[bytes, ...] = ()
    """DER of the certificates after the leaf, in order."""


class CertificateFieldMalformed(Exception):
    """A field does not have its format. The message names the format that it resembles, and contains no part of the
    value.
    """


def parse(
    form: CertificateFormat, values: Sequence[bytes], chain_values: Sequence[bytes] = ()
) -> FieldCertificates | None:
    """Read the values of all lines of the field and, for `rfc9440`, of the chain's field; None: no certificate.

    Raises `CertificateFieldMalformed`.
    """
    value = _single(values)
    if form is not CertificateFormat.RFC9440 and chain_values:
        raise CertificateFieldMalformed(f"{form.value} has no field for the chain")
    if not value or (value == b"(null)" and form is CertificateFormat.PEM_ONE_LINE):
        # HAProxy sends an empty field, and Apache this word, if the client sent no certificate.
        if any(chain_values):
            raise CertificateFieldMalformed("a chain without a certificate")
        return None
    try:
        return _READERS[form](value, chain_values)
    except CertificateFieldMalformed as malformed:
        like = likeness(value)
        if like is None or like.format == form.value:
            raise
        raise CertificateFieldMalformed(f"{malformed}; {like.sentence}") from None


def _single(values: Sequence[bytes]) -> bytes:
    if len(values) > 1:
        raise CertificateFieldMalformed("the field came more than once")
    value = values[0].strip(b" \t") if values else b""
    if len(value) > LONGEST:
        raise CertificateFieldMalformed(f"longer than {LONGEST} bytes")
    return value


# --- rfc9440


def _rfc9440(value: bytes, chain_values: Sequence[bytes]) -> FieldCertificates:
    chain = b",".join(chain_values)
    if len(chain) > LONGEST:
        raise CertificateFieldMalformed(f"the chain is longer than {LONGEST} bytes")
    items = [_byte_sequence(item.strip(b" \t")) for item in chain.split(b",")] if chain.strip(b" \t") else []
    return _bounded(_byte_sequence(value), items)


def _byte_sequence(item: bytes) -> bytes:
    """RFC 8941 §3.3.5. RFC 9440 defines no parameters, so none are accepted."""
    if len(item) < 2 or not (item.startswith(b":") and item.endswith(b":")):
        raise CertificateFieldMalformed("not one Byte Sequence between colons (RFC 8941 §3.3.5)")
    return _der(item[1:-1])


# --- xfcc


def _xfcc(value: bytes, _chain_values: Sequence[bytes]) -> FieldCertificates:
    pairs = _element(value)
    told: set[bytes] = set()
    found: dict[bytes, bytes] = {}
    for key, text in pairs:
        if key in (b"cert", b"chain", b"hash"):
            if key in found or told & _TOLD_BY_THE_CLIENT:
                # A name chosen by the client that contains a quote must not look like a certificate.
                raise CertificateFieldMalformed(
                    f"{key.decode().capitalize()}= is repeated, or behind the client's names"
                )
            found[key] = text
        told.add(key)
    if b"cert" not in found:
        raise CertificateFieldMalformed("no Cert=: a hash or a subject is not the certificate")
    leaf, *rest = _pem(_decoded(found[b"cert"]), b"\n")
    if rest:
        raise CertificateFieldMalformed("Cert= holds more than one certificate")
    if b"hash" in found and found[b"hash"].lower() != sha256(leaf).hexdigest().encode():
        raise CertificateFieldMalformed("Hash= is not that of Cert=")
    chain = _pem(_decoded(found[b"chain"]), b"\n") if b"chain" in found else [leaf]
    if chain[0] != leaf:
        raise CertificateFieldMalformed("Chain= does not begin with Cert=")
    return _bounded(leaf, chain[1:])


def _element(value: bytes) -> list[tuple[bytes, bytes]]:
    """The pairs of the only element, keys in lower case."""
    pairs, at = [], 0
    while True:
        pair = _PAIR.match(value, at)
        if pair is None:
            raise CertificateFieldMalformed('not pairs Key=Value or Key="Value" with ; between')
        quoted = pair[2]
        text = pair[3] if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted)
        pairs.append((pair[1].lower(), text))
        at = pair.end()
        if at == len(value):
            return pairs
        if value[at : at + 1] == b",":
            raise CertificateFieldMalformed(
                "more than one element: the proxy must replace what it was sent (SANITIZE_SET)"
            )
        if value[at : at + 1] != b";":
            raise CertificateFieldMalformed("something behind a value")
        at += 1


# --- PEM


def _pem_urlencoded(value: bytes, _chain_values: Sequence[bytes]) -> FieldCertificates:
    leaf, *chain = _pem(_decoded(value), b"\n")
    return _bounded(leaf, chain)


def _pem_one_line(value: bytes, _chain_values: Sequence[bytes]) -> FieldCertificates:
    leaf, *chain = _pem(value, b" ")
    return _bounded(leaf, chain)


def _decoded(text: bytes) -> bytes:
    """Percent-decoded once; `+` is not a space (RFC 3986 §2.1)."""
    if not _UNESCAPED.match(text):
        raise CertificateFieldMalformed("not percent-encoded (RFC 3986 §2.1)")
    return unquote_to_bytes(text)


def _pem(text: bytes, line_end: bytes) -> list[bytes]:
    """Consecutive certificates (RFC 7468 §5) with nothing between or around them; at least one."""
    found: list[bytes] = []
    rest = text.replace(b"\r\n", b"\n") if line_end == b"\n" else text
    while rest or not found:
        begin, body, rest = rest[: len(_BEGIN)], *_cut(rest[len(_BEGIN) :])
        lines = body.split(line_end)
        if begin != _BEGIN or len(lines) < 3 or lines[0] or lines[-1] or not all(lines[1:-1]):
            raise CertificateFieldMalformed("not PEM certificates one behind the other (RFC 7468 §5)")
        found.append(_der(b"".join(lines[1:-1])))
        if rest and not rest.startswith(line_end):
            raise CertificateFieldMalformed("something behind a PEM certificate")
        rest = rest.removeprefix(line_end)
    return found


def _cut(text: bytes) -> tuple[bytes, bytes]:
    body, end, rest = text.partition(_END)
    if not end:
        raise CertificateFieldMalformed(
            "no end of a PEM certificate: cut off, perhaps at a limit of the proxy"
        )
    return body, rest


# --- DER


def _der_base64(value: bytes, _chain_values: Sequence[bytes]) -> FieldCertificates:
    return FieldCertificates(_der(value))


def _der(text: bytes) -> bytes:
    """Canonical base64 (RFC 4648 §3.5) of exactly one DER sequence (X.690 §10.1)."""
    try:
        data = a2b_base64(text) if _BASE64.match(text) else b""
    except Error:
        data = b""
    if not data or b2a_base64(data, newline=False) != text:
        raise CertificateFieldMalformed("not base64 (RFC 4648 §4)")
    if _sequence_size(data) != len(data):
        raise CertificateFieldMalformed("not exactly one DER element: cut off, or with something behind it")
    return data


def _sequence_size(data: bytes) -> int:
    """Length of the first element of `data` in bytes; -1 unless it is a sequence of definite, minimal length."""
    if len(data) < 2 or data[0] != 0x30:
        return -1
    first = data[1]
    if first < 0x80:
        return 2 + first
    length = data[2 : 2 + first - 0x80]
    size = int.from_bytes(length)
    if not 1 <= len(length) == first - 0x80 <= 3 or length[0] == 0 or size < 0x80:
        return -1
    return 2 + len(length) + size


def _bounded(leaf: bytes, chain: Sequence[bytes]) -> FieldCertificates:
    if len(chain) > LONGEST_CHAIN:
        raise CertificateFieldMalformed(f"a chain of more than {LONGEST_CHAIN} certificates")
    return FieldCertificates(leaf, tuple(chain))


_READERS: Final = {
    CertificateFormat.RFC9440: _rfc9440,
    CertificateFormat.XFCC: _xfcc,
    CertificateFormat.PEM_URLENCODED: _pem_urlencoded,
    CertificateFormat.PEM_ONE_LINE: _pem_one_line,
    CertificateFormat.DER_BASE64: _der_base64,
}


# --- writing


def emit(form: CertificateFormat, certificates: FieldCertificates) -> tuple[bytes, bytes]:
    """The values of the field and of the chain's field; an empty one is not sent.

    `der_base64` has no field for a chain: the chain is omitted.
    """
    leaf, chain = certificates
    match form:
        case CertificateFormat.RFC9440:
            return _sequence(leaf), b", ".join(map(_sequence, chain))
        case CertificateFormat.XFCC:
            value = b'Hash=%b;Cert="%b"' % (
                sha256(leaf).hexdigest().encode(),
                _escaped(_pem_text(leaf, b"\n")),
            )
            if chain:
                value += b';Chain="%b"' % _escaped(
                    b"".join(_pem_text(each, b"\n") for each in (leaf, *chain))
                )
            return value, b""
        case CertificateFormat.PEM_URLENCODED:
            return _escaped(b"".join(_pem_text(each, b"\n") for each in (leaf, *chain))), b""
        case CertificateFormat.PEM_ONE_LINE:
            return b"".join(_pem_text(each, b" ") for each in (leaf, *chain)).rstrip(b" "), b""
        case CertificateFormat.DER_BASE64:
            return b2a_base64(leaf, newline=False), b""


def _sequence(der: bytes) -> bytes:
    return b":%b:" % b2a_base64(der, newline=False)


def _escaped(text: bytes) -> bytes:
    return quote(text, safe="").encode("ascii")


def _pem_text(der: bytes, line_end: bytes) -> bytes:
    text = b2a_base64(der, newline=False)
    lines = [_BEGIN, *(text[at : at + 64] for at in range(0, len(text), 64)), _END, b""]
    return line_end.join(lines)
