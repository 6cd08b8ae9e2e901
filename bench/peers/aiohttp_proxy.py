"""What one would write in an afternoon: aiohttp as server and client, PyJWT, and the RFC 8705 comparison."""

import base64
import hashlib
import hmac
import json
import ssl
import sys
from pathlib import Path
from typing import Any

import jwt
import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, hdrs, web

ISSUER = "https://as.example"
AUDIENCE = "api"
HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "authorization",
    "host",
}


class Proxy:
    """Keeps the issuer's keys and one session to the API."""

    def __init__(self, upstream: str, jwks: str, introspection: str) -> None:
        self._upstream = upstream
        self._introspection = introspection
        self._keys = {key["kid"]: jwt.PyJWK(key) for key in json.loads(jwks)["keys"]}
        self._session: ClientSession | None = None

    async def session(self, _: web.Application) -> Any:
        """Opens the session with the application and closes it with it."""
        async with ClientSession(
            connector=TCPConnector(limit=256), timeout=ClientTimeout(total=None), auto_decompress=False
        ) as self._session:
            yield

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """One request: 401 or the API's answer."""
        assert self._session is not None
        try:
            self._confirm(request, await self._claims(request))
        except (jwt.InvalidTokenError, KeyError, ValueError):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP]
        body = request.content if request.body_exists else None
        async with self._session.request(
            request.method,
            self._upstream + request.raw_path,
            headers=headers,
            data=body,
            allow_redirects=False,
        ) as answer:
            kept = [(k, v) for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP]
            if (answer.content_length or 0) <= 65536 and hdrs.CONTENT_LENGTH in answer.headers:
                return web.Response(
                    status=answer.status, headers=kept_without_length(kept), body=await answer.read()
                )
            response = web.StreamResponse(status=answer.status, headers=dict(kept))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    async def _claims(self, request: web.Request) -> dict[str, Any]:
        scheme, _, token = request.headers["Authorization"].partition(" ")
        if scheme.lower() != "bearer":
            raise ValueError(scheme)
        if self._introspection:
            return await self._introspect(token)
        key = self._keys[jwt.get_unverified_header(token)["kid"]]
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp"]},
        )
        return claims

    async def _introspect(self, token: str) -> dict[str, Any]:
        assert self._session is not None
        async with self._session.post(self._introspection, data={"token": token}) as answer:
            claims: dict[str, Any] = await answer.json()
        if claims["active"] is not True or claims["aud"] != AUDIENCE:
            raise ValueError("inactive")
        return claims

    @staticmethod
    def _confirm(request: web.Request, claims: dict[str, Any]) -> None:
        assert request.transport is not None
        certificate = request.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        digest = hashlib.sha256(certificate or b"").digest()
        presented = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if not hmac.compare_digest(presented, claims["cnf"]["x5t#S256"]):
            raise ValueError("another certificate")


def kept_without_length(headers: list[tuple[str, str]]) -> dict[str, str]:
    """aiohttp sets the length of a body it holds."""
    return {k: v for k, v in headers if k.lower() != "content-length"}


def main(port: int, upstream: int, material: Path, introspection: str) -> None:
    """Serves until killed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(material / "ca.pem"))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(material / "server.pem")
    proxy = Proxy(f"http://127.0.0.1:{upstream}", (material / "jwks.json").read_text(), introspection)
    app = web.Application(client_max_size=0)
    app.cleanup_ctx.append(proxy.session)
    app.router.add_route("*", "/{path:.*}", proxy.forward)
    uvloop.install()
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        ssl_context=context,
        access_log=None,
        print=None,
        keepalive_timeout=300,
        backlog=4096,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "")
