"""A small authorization server: signs tokens for the demo and publishes its keys over HTTPS."""

import json
import ssl
import time
from hashlib import sha256
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from jwt.algorithms import ECAlgorithm

from sidecar.decision.strict import base64url_text
from sidecar.trust.certification import Identity, new_key

AUDIENCE = "https://api.demo"
_KEY_ID = "demo-2026"
_LIFETIME = 3600
"""Seconds."""


class DemoIssuer:
    """Issues access tokens according to RFC 9068 and RFC 8705, and also invalid ones."""

    def __init__(self, identity: Identity, authority: Identity, port: int = 0) -> None:
        """`port` on loopback; 0: a free one. Clients whose certificate `authority` issued get bound tokens."""
        self._identity = identity
        self._authority = authority
        self._port = port
        self._key = new_key()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Serve metadata (RFC 8414), keys and tokens on loopback. Raises `OSError`."""
        app = web.Application()
        app.router.add_get("/.well-known/oauth-authorization-server", self._metadata)
        app.router.add_get("/jwks", self._jwks)
        app.router.add_post("/token", self._token)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._identity.certificate_file, self._identity.key_file)
        context.load_verify_locations(self._authority.certificate_file)
        context.verify_mode = ssl.CERT_OPTIONAL
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=context)
        await site.start()
        self.url = f"https://localhost:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metadata(self, _request: web.Request) -> web.Response:
        document = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "token_endpoint": f"{self.url}/token",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "tls_client_certificate_bound_access_tokens": True,
        }
        return web.json_response(document)

    async def _jwks(self, _request: web.Request) -> web.Response:
        public = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        return web.json_response({"keys": [{**public, "kid": _KEY_ID, "alg": "ES256", "use": "sig"}]})

    async def _token(self, request: web.Request) -> web.Response:
        """Client credentials (RFC 6749 §4.4): bound to the certificate of the connection, if there is one (RFC 8705
        §3).
        """
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        claims: dict[str, Any] = {name: str(form[name]) for name in ("client_id", "scope") if name in form}
        tls = request.get_extra_info("ssl_object")
        der: bytes | None = tls.getpeercert(binary_form=True)
        if der is not None:
            claims["cnf"] = {"x5t#S256": base64url_text(sha256(der).digest())}
        token = self._signed(self._claims(None, claims), self._key)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": _LIFETIME})

    def token(self, bound_to: Identity | None, *, stranger: bool = False, **claims: object) -> str:
        """An access token, bound to a certificate if one is given; `stranger` signs with an unpublished key."""
        return self._signed(self._claims(bound_to, claims), new_key() if stranger else self._key)

    def _signed(self, claims: dict[str, Any], key: EllipticCurvePrivateKey) -> str:
        return jwt.encode(claims, key, "ES256", {"typ": "at+jwt", "kid": _KEY_ID})

    def unsigned_token(self, bound_to: Identity) -> str:
        """A token with `alg: none` (RFC 7518 §3.6)."""
        parts = ({"alg": "none", "typ": "at+jwt"}, self._claims(bound_to, {}))
        return ".".join(base64url_text(json.dumps(part).encode()) for part in parts) + "."

    def _claims(self, bound_to: Identity | None, changes: dict[str, Any]) -> dict[str, Any]:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "alice",
            "client_id": "reporting",
            "scope": "accounts:read",
            "iat": now,
            "exp": now + _LIFETIME,
            "jti": f"demo-{now}",
        }
        if bound_to is not None:
            claims["cnf"] = {"x5t#S256": bound_to.thumbprint}
        return claims | changes
