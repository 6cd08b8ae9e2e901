"""Is an access token that the authorization server has just issued bound to the client's certificate? Pure.

The answer is a verdict and never a change: a token response goes on as it came, or not at all. What the server says of
its own token is trusted: it has just come over the server's own connection, and a signature would prove no more.
"""

import zlib
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from sidecar.decision.certificate import Certificate
from sidecar.decision.diagnosis import diagnose_thumbprint
from sidecar.decision.strict import Malformed, base64url, json_object
from sidecar.http.certificate_field import CertificateFormat, FieldCertificates, emit

LONGEST: Final = 256 << 10
"""Largest token response that is read, in bytes, as received and decompressed."""
_CERTIFICATE: Final = "x5t#S256"
_PROOF_KEY: Final = "jkt"
_GZIP: Final = 16 + zlib.MAX_WBITS


class BindingVerdict(Enum):
    """What an issued access token is. The values are stable: logs and metrics name them."""

    BOUND = "bound"
    """To the certificate of this very connection (RFC 8705 §3.1)."""
    UNBOUND = "unbound"
    """It says nothing about a key: whoever steals it can use it."""
    MISMATCH = "mismatch"
    """`x5t#S256` is not the thumbprint of this certificate."""
    PROOF_KEY = "jkt"
    """It is bound to the key of a DPoP proof, and to no certificate (RFC 9449 §6)."""
    UNKNOWN = "unknown"
    """It is opaque, and there is no introspection endpoint to ask."""
    UNREADABLE = "unreadable"
    """The response, or what it says of the token, cannot be read."""


class Finding:
    """The result of the audit of one token response. Treat as immutable."""

    __slots__ = ("detail", "mistake", "name", "verdict")

    def __init__(self, verdict: BindingVerdict, detail: str = "", mistake: str = "") -> None:
        self.verdict = verdict
        self.name: str = verdict.value
        """The stable name of the verdict."""
        self.detail = detail
        """An explanation for the operator; no part of the token."""
        self.mistake = mistake
        """The name of the likely mistake behind a mismatch (`decision.diagnosis`)."""

    @property
    def is_good(self) -> bool:
        """Whether a stolen token would be useless, as far as the sidecar can know."""
        return self.verdict in (BindingVerdict.BOUND, BindingVerdict.PROOF_KEY)


_BOUND: Final = Finding(BindingVerdict.BOUND)
_TO_PROOF_KEY: Final = Finding(BindingVerdict.PROOF_KEY)


class IssuedTokens:
    """The tokens of one response (RFC 6749 §5.1). Treat as immutable."""

    __slots__ = ("access_token", "refresh_token")

    def __init__(self, access_token: str, refresh_token: str | None) -> None:
        self.access_token = access_token
        self.refresh_token = refresh_token

    def __repr__(self) -> str:
        return "IssuedTokens(…)"


def content(body: bytes, encoding: str) -> bytes:
    """The body without its content coding (RFC 9110 §8.4): none, or gzip, which was not asked for. Raises `Malformed`,
    also when it is longer than `LONGEST`.
    """
    coding = encoding.strip(" \t").lower()
    if len(body) > LONGEST:
        raise Malformed(f"longer than {LONGEST} bytes")
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise Malformed("in a content coding that was not asked for")
    reader = zlib.decompressobj(_GZIP)
    try:
        text = reader.decompress(body, LONGEST + 1)
    except zlib.error:
        raise Malformed("not gzip, though it says so") from None
    if len(text) > LONGEST:
        raise Malformed(f"longer than {LONGEST} bytes when decompressed")
    if not reader.eof or reader.unused_data:
        raise Malformed("gzip that is cut off, or has something behind it")
    return text


def issued(text: bytes) -> IssuedTokens:
    """The tokens in the content of a successful response (RFC 6749 §5.1). Raises `Malformed`."""
    document = json_object(text)
    access, refresh = document.get("access_token"), document.get("refresh_token")
    if not isinstance(access, str) or not access or not access.isascii():
        raise Malformed("without an access token")
    return IssuedTokens(access, refresh if isinstance(refresh, str) and refresh.isascii() else None)


def claims_of(access_token: str) -> Mapping[str, Any] | None:
    """The claims of a signed JWT, unverified; None for a token that is opaque to us: only its server reads it.

    Raises `Malformed` for one that is a JWT by its header, and cannot be read.
    """
    # Found, and not split: to search for one character costs far less than to copy the signature.
    first = access_token.find(".")
    second = access_token.find(".", first + 1)
    if first < 0 or second < 0 or access_token.find(".", second + 1) >= 0:
        return None
    return (
        json_object(base64url(access_token[first + 1 : second])) if _is_signed(access_token[:first]) else None
    )


@lru_cache(maxsize=64)
def _is_signed(header: str) -> bool:
    """Whether it is the header of a JWS (RFC 7515 §4.1.1): one key writes the same for all its tokens."""
    try:
        return isinstance(json_object(base64url(header)).get("alg"), str)
    except Malformed:
        return False


def judged(claims: Mapping[str, Any], certificate: Certificate) -> Finding:
    """Whether a token with these claims, or an introspection response with these members, is bound to `certificate`
    (RFC 8705 §3.1, §3.2).
    """
    confirmation = claims.get("cnf")
    if confirmation is None:
        return Finding(BindingVerdict.UNBOUND, "the token has no cnf")
    if not isinstance(confirmation, dict):
        return Finding(BindingVerdict.UNREADABLE, "cnf is no JSON object")
    if _CERTIFICATE in confirmation:
        return _compared(confirmation[_CERTIFICATE], certificate)
    if _PROOF_KEY in confirmation:
        return _TO_PROOF_KEY
    return Finding(BindingVerdict.UNBOUND, f"cnf has neither {_CERTIFICATE} nor {_PROOF_KEY}")


def _compared(value: object, certificate: Certificate) -> Finding:
    if not isinstance(value, str):
        return Finding(BindingVerdict.MISMATCH, f"{_CERTIFICATE} is no string", "unknown")
    if value == certificate.thumbprint_text:
        return _BOUND
    found = diagnose_thumbprint(value[:512], certificate, header_texts=header_texts(certificate.der))
    return Finding(BindingVerdict.MISMATCH, found.sentence, found.mistake)


def header_texts(der: bytes) -> list[bytes]:
    """The values of a certificate field in every format, also repeated: some servers hash the field as it is."""
    texts = [emit(form, FieldCertificates(der))[0] for form in CertificateFormat]
    texts.append(texts[[*CertificateFormat].index(CertificateFormat.PEM_URLENCODED)].replace(b"%20", b"+"))
    return [*texts, *(b"%b, %b" % (text, text) for text in texts)]
