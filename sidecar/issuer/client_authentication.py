"""Authenticates the sidecar to an introspection endpoint (RFC 7662 §2.1: it "MUST also require some form of
authorization").

There is one class for each method. Each adds form parameters or header fields; the two certificate methods add only
the `client_id`, since the TLS layer presents the certificate (RFC 8705 §2).
"""

import re
import secrets
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, assert_never
from urllib.parse import quote_plus

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sidecar.decision.jose import canonical_algorithm
from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import (
    Anonymous,
    BearerToken,
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
    SelfSignedTlsClientAuth,
    TlsClientAuth,
)
from sidecar.issuer.secret_file import SecretFile

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIFETIME = 60
"""Seconds. RFC 7523 §3 recommends a short lifetime, so that a stolen assertion is soon useless."""

_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

SigningKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Credentials:
    """Parameters and header fields of one request that authenticate the sender."""

    form: dict[str, str] = field(repr=False)
    headers: dict[str, str] = field(repr=False)


class ClientAuthenticator(Protocol):
    """One method of client authentication."""

    async def credentials(self) -> Credentials:
        """The credentials of one request."""


class _Basic:
    """RFC 6749 §2.3.1: both parts are form-encoded before they are joined."""

    def __init__(self, settings: ClientSecretBasic, clock: Clock) -> None:
        self._client_id = settings.client_id
        self._secret = SecretFile(settings.client_secret_file, parse_secret, clock)

    async def credentials(self) -> Credentials:
        pair = f"{quote_plus(self._client_id)}:{quote_plus(await self._secret.current())}"
        return Credentials({}, {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"})


class _Post:
    """RFC 6749 §2.3.1."""

    def __init__(self, settings: ClientSecretPost, clock: Clock) -> None:
        self._client_id = settings.client_id
        self._secret = SecretFile(settings.client_secret_file, parse_secret, clock)

    async def credentials(self) -> Credentials:
        return Credentials({"client_id": self._client_id, "client_secret": await self._secret.current()}, {})


class _Bearer:
    """RFC 6750 §2.1. The file is read again when it changes, so that an expiring token can be replaced."""

    def __init__(self, settings: BearerToken, clock: Clock) -> None:
        self._token = SecretFile(settings.token_file, parse_token, clock)

    async def credentials(self) -> Credentials:
        return Credentials({}, {"Authorization": f"Bearer {await self._token.current()}"})


class _Nobody:
    """No authorization."""

    async def credentials(self) -> Credentials:
        return Credentials({}, {})


class _Assertion:
    """RFC 7523 §2.2 and §3."""

    def __init__(self, settings: PrivateKeyJwt, issuer: str, clock: Clock) -> None:
        self._settings = settings
        self._audience = settings.audience or issuer
        self._clock = clock
        self._key = SecretFile(settings.key_file, self._parse, clock)

    def _parse(self, pem: bytes) -> SigningKey:
        return parse_signing_key(pem, self._settings.algorithm)

    async def credentials(self) -> Credentials:
        form = {
            "client_id": self._settings.client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertion(await self._key.current()),
        }
        return Credentials(form, {})

    def _assertion(self, key: SigningKey) -> str:
        now = int(self._clock.wall())
        claims = {
            "iss": self._settings.client_id,
            "sub": self._settings.client_id,
            "aud": self._audience,
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + _ASSERTION_LIFETIME,
        }
        header = {} if self._settings.key_id is None else {"kid": self._settings.key_id}
        algorithm = canonical_algorithm(self._settings.algorithm or algorithm_of(key))
        return jwt.encode(claims, key, algorithm, header)


class _Certificate:
    """RFC 8705 §2: "the client_id parameter is REQUIRED in these requests"; the rest is TLS."""

    def __init__(self, settings: TlsClientAuth | SelfSignedTlsClientAuth) -> None:
        self._client_id = settings.client_id

    async def credentials(self) -> Credentials:
        return Credentials({"client_id": self._client_id}, {})


def client_authenticator(settings: ClientAuthentication, issuer: str, clock: Clock) -> ClientAuthenticator:
    """The authenticator for `settings`. Reads its files: call it off the event loop. Raises `OSError`, `ValueError`."""
    match settings:
        case ClientSecretBasic():
            return _Basic(settings, clock)
        case ClientSecretPost():
            return _Post(settings, clock)
        case PrivateKeyJwt():
            return _Assertion(settings, issuer, clock)
        case TlsClientAuth() | SelfSignedTlsClientAuth():
            return _Certificate(settings)
        case BearerToken():
            return _Bearer(settings, clock)
        case Anonymous():
            return _Nobody()
        case _:
            assert_never(settings)


def parse_signing_key(pem: bytes, algorithm: str | None = None) -> SigningKey:
    """A private key that can sign assertions, with `algorithm` if one is given. Raises `ValueError`."""
    try:
        key = load_pem_private_key(pem, None)
    except (TypeError, ValueError):
        raise ValueError("not an unencrypted PEM private key") from None
    fitting = algorithm_of(key)
    try:
        jwt.encode({}, key, canonical_algorithm(algorithm or fitting))  # type: ignore[arg-type] # algorithm_of refused other types
    except (TypeError, jwt.PyJWTError, NotImplementedError) as error:
        raise ValueError("the key does not fit the algorithm") from error
    return key  # type: ignore[return-value] # as above


def algorithm_of(key: object) -> str:
    """The default JWS algorithm of a key. Raises `ValueError` for a key that may not sign."""
    match key:
        case rsa.RSAPrivateKey():
            if key.key_size < 2048:
                raise ValueError("an RSA key of fewer than 2048 bits")
            return "PS256"
        case ec.EllipticCurvePrivateKey() if key.curve.name in _CURVES:
            return _CURVES[key.curve.name]
        case ed25519.Ed25519PrivateKey():
            return "EdDSA"
        case _:
            raise ValueError("neither RSA, P-256, P-384, P-521 nor Ed25519")


def parse_secret(content: bytes) -> str:
    """The file's text without the line end that editors add. Raises `ValueError`."""
    text = content.decode("utf-8").rstrip("\r\n")
    if not text:
        raise ValueError("the file is empty")
    return text


def parse_token(content: bytes) -> str:
    """The access token in a file of one line (RFC 6750 §2.1: b64token). Raises `ValueError`."""
    token = parse_secret(content).strip()
    if _B64TOKEN.fullmatch(token) is None:
        raise ValueError("the file holds no access token on one line")
    return token
