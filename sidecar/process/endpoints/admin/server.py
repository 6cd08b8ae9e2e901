"""The admin server. On loopback or a Unix socket only, which the settings see to.

Everything but the page's own files asks for the token of this start, or, on a Unix socket, for the account of who
connects: a neighbour in the Pod reaches loopback, too. Against pages of other origins in the same browser it defends
itself besides: it answers to local names alone (DNS rebinding), changes nothing on GET, takes a POST only as JSON from
its own page, and its page runs only its own script.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from importlib import resources
from json import dumps
from urllib.parse import urlsplit

from aiohttp import web

from sidecar.decision.strict import Malformed, json_object
from sidecar.process.endpoints.admin.inspection import Inspection, JsonObject, Refused
from sidecar.process.endpoints.admin.token import AdminToken
from sidecar.telemetry.configuration import Level

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names a browser may use for us; the port is whatever was forwarded."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FILES = {
    "/": ("index.html", "text/html"),
    "/admin.css": ("admin.css", "text/css"),
    "/admin.js": ("admin.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
BEAT = 0.3
"""Seconds between two looks at new decisions, for each page that watches."""
BATCH = 50
"""Decisions sent per look; more are counted as skipped."""
SILENCE = 15.0
"""Seconds after which a stream without news says that it is alive."""

LOCKED = "this needs the token of this start: `sidecar admin-url` prints the link\n"
PEER_CREDENTIALS = struct.Struct("iII")
"""pid, uid and gid of who connected (unix(7), SO_PEERCRED)."""

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _guarded(request: web.Request, handler: Respond) -> web.StreamResponse:
    """Only local names, only our own page, and the headers that keep it that way."""
    refusal = _refusal(request)
    if refusal is not None:
        response: web.StreamResponse = web.Response(status=403, text=f"{refusal}\n")
    else:
        try:
            response = await handler(request)
        except Refused as error:
            response = web.json_response({"error": str(error)}, status=400)
        except web.HTTPException as failed:
            response = web.Response(status=failed.status, text=f"{failed.reason}\n")
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


def _refusal(request: web.Request) -> str | None:
    if not _is_local(f"//{request.headers.get('Host', '')}"):
        return "this server answers to localhost only"
    if request.method in {"GET", "HEAD"}:
        return None
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers["Host"]:
        return "from another origin"
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return "from another site"
    if request.content_type != "application/json":
        return "only application/json"
    return None


def _is_local(url: str) -> bool:
    try:
        return urlsplit(url).hostname in LOCAL
    except ValueError:
        return False


def _peer_account(request: web.Request) -> int | None:
    """The uid of who connected to our Unix socket, or None when the system does not say."""
    connection = request.transport.get_extra_info("socket") if request.transport is not None else None
    if connection is None:
        return None
    with socket.socket(fileno=os.dup(connection.fileno())) as peer:
        if peer.family is not socket.AF_UNIX:
            return None
        _, uid, _ = PEER_CREDENTIALS.unpack(
            peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
        )
    return int(uid)


class AdminServer:
    """Serves the page and what it asks for."""

    def __init__(self, inspection: Inspection, token: AdminToken | None) -> None:
        """Without `token` it is told who connects, by a Unix socket."""
        self._inspection = inspection
        self._token = token
        application = web.Application(middlewares=[_guarded, self._admitted], client_max_size=1 << 18)
        for path in FILES:
            application.router.add_get(path, self._file)
        add = application.router
        add.add_get("/decisions", self._decisions)
        add.add_get("/state", self._answered(inspection.state))
        add.add_get("/clients", self._answered(inspection.clients))
        add.add_get("/config", self._answered(inspection.configuration))
        add.add_get("/log-level", self._log_level)
        add.add_post("/log-level", self._set_log_level)
        add.add_post("/explain", self._explain)
        add.add_post("/reload", self._reload)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        self._closing = asyncio.Event()

    async def start(self, host: str, port: int, path: str = "") -> int:
        """Bind a loopback address, or the Unix socket `path`, and serve; the port. Raises OSError."""
        await self._runner.setup()
        site = web.UnixSite(self._runner, path) if path else web.TCPSite(self._runner, host, port)
        await site.start()
        return 0 if path else int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop serving; open streams end."""
        self._closing.set()
        await self._runner.cleanup()

    @web.middleware
    async def _admitted(self, request: web.Request, handler: Respond) -> web.StreamResponse:
        """Who may read decisions and give orders."""
        if self._token is None:
            if _peer_account(request) not in {0, os.geteuid()}:
                return web.Response(status=403, text="another account: not the sidecar's own, nor root\n")
        elif request.path not in FILES and not self._token.admits(request.headers.get("Authorization", "")):
            return web.Response(status=401, text=LOCKED, headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    async def _file(self, request: web.Request) -> web.Response:
        name, content_type = FILES[request.path]
        text = resources.files("sidecar.process.endpoints.admin").joinpath("static", name).read_text("utf-8")
        return web.Response(text=text, content_type=content_type, charset="utf-8")

    @staticmethod
    def _answered(
        ask: Callable[[], Awaitable[JsonObject]],
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            return web.json_response(await ask())

        return answer

    async def _decisions(self, request: web.Request) -> web.StreamResponse:
        if "text/event-stream" not in request.headers.get("Accept", ""):
            return web.json_response(await self._inspection.decisions(request.query.get("after", ""), 200))
        stream = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await self._send_decisions(stream, request.headers.get("Last-Event-ID", ""))
        return stream

    async def _send_decisions(self, stream: web.StreamResponse, cursor: str) -> None:
        silent = 0.0
        try:
            while not self._closing.is_set():
                found = await self._inspection.decisions(cursor, BATCH)
                cursor = found["cursor"]
                silent = 0.0 if found["entries"] else silent + BEAT
                if found["entries"]:
                    await stream.write(f"id: {cursor}\ndata: {dumps(found)}\n\n".encode())
                elif silent >= SILENCE:
                    silent = 0.0
                    await stream.write(b": alive\n\n")
                await self._pause()
        except (ConnectionError, asyncio.CancelledError):
            return

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), BEAT)
        except TimeoutError:
            return

    async def _log_level(self, _request: web.Request) -> web.Response:
        return web.json_response({"level": (await self._inspection.log_level()).value})

    async def _set_log_level(self, request: web.Request) -> web.Response:
        wanted = (await _body(request)).get("level")
        known = {level.value: level for level in Level}
        if wanted not in known:
            raise Refused(f"level: one of {', '.join(known)}")
        return web.json_response({"level": (await self._inspection.log_level(known[wanted])).value})

    async def _explain(self, request: web.Request) -> web.Response:
        return web.json_response(await self._inspection.explain(await _body(request)))

    async def _reload(self, _request: web.Request) -> web.Response:
        await self._inspection.reload()
        return web.json_response({"reload": "requested"}, status=202)


async def _body(request: web.Request) -> JsonObject:
    try:
        return json_object(await request.read())
    except Malformed as error:
        raise Refused(f"the body is {error}") from None
