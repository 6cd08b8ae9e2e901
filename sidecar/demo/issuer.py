"""A small authorization server: signs what the demo asks for and publishes its keys over HTTPS."""

import json
import ssl
import time
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from sidecar.decision.strict import base64url_text
from sidecar.demo.material import Identity

AUDIENCE = "https://api.demo"
_KEY_ID = "demo-2026"


class DemoIssuer:
    """Issues access tokens as RFC 9068 and RFC 8705 describe them, and also ones that no issuer should."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Serve metadata (RFC 8414) and keys on a free port of loopback."""
        app = web.Application()
        app.router.add_get("/.well-known/oauth-authorization-server", self._metadata)
        app.router.add_get("/jwks", self._jwks)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._identity.certificate_file, self._identity.key_file)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.url = f"https://localhost:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Serve no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metadata(self, _request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/jwks"})

    async def _jwks(self, _request: web.Request) -> web.Response:
        public = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        return web.json_response({"keys": [{**public, "kid": _KEY_ID, "alg": "ES256", "use": "sig"}]})

    def token(self, bound_to: Identity | None, *, stranger: bool = False, **claims: object) -> str:
        """An access token, bound to a certificate when one is given; `stranger` signs with a key of nobody."""
        key = ec.generate_private_key(ec.SECP256R1()) if stranger else self._key
        header = {"typ": "at+jwt", "kid": _KEY_ID}
        return jwt.encode(self._claims(bound_to, claims), key, "ES256", header)

    def unsigned_token(self, bound_to: Identity) -> str:
        """`alg: none` (RFC 7518 §3.6)."""
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
            "exp": now + 3600,
            "jti": f"demo-{now}",
        }
        if bound_to is not None:
            claims["cnf"] = {"x5t#S256": bound_to.thumbprint}
        return claims | changes
