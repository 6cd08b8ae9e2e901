"""The health server: /livez /readyz /startupz /grpcz /metrics on their own address, in plain HTTP.

Nothing here depends on a header a client sends; the data port never answers these paths on its own account.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from json import dumps
from typing import Protocol

from aiohttp import web

from sidecar.telemetry.exposition import CONTENT_TYPE, exposed
from sidecar.telemetry.metrics import Snapshot

CONNECTIONS = 64
"""At a time: whoever in the cluster opens more and says nothing must not use up our file descriptors."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of health and its result."""

    name: str
    """E.g. `issuer_keys https://as.example.com`."""
    ok: bool
    detail: str = ""
    """One plain sentence when it does not hold; when it does, a warning."""


HEARTBEAT_AGE = 10.0
"""Age of the last heartbeat, in seconds, at which an event loop counts as stuck."""


def heartbeat(age: float, name: str, problem: str) -> Check:
    """Whether an event loop with a heartbeat of this `age`, in seconds, serves."""
    ok = age <= HEARTBEAT_AGE
    return Check(name, ok=ok, detail="" if ok else f"{problem} for {age:.0f} s")


def begun_again(failed: Iterable[tuple[str, str]]) -> Iterator[Check]:
    """A warning for each task of the process that failed and was started again: name and failure."""
    for name, how in failed:
        yield Check(f"task {name}", ok=True, detail=f"failed and was begun again: {how}")


class Inspected(Protocol):
    """What health is asked of: one process, or a supervisor and its workers."""

    def liveness(self) -> Sequence[Check]:
        """Whether a worker serves. Uses known values only, because the answer must not wait for a loop that hangs."""

    async def readiness(self) -> Sequence[Check]:
        """All checks that must hold before requests should be sent here."""

    async def startup(self) -> Sequence[Check]:
        """The checks that must have held once since the start."""

    async def grpc_health(self, service: str) -> Check | None:
        """The API's health answer for a gRPC service; None if the configuration does not list it."""

    async def snapshot(self) -> Snapshot:
        """All figures now."""


class HealthServer:
    """Serves the probes."""

    def __init__(self, inspected: Inspected) -> None:
        self._inspected = inspected
        application = web.Application(client_max_size=1024)
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._checked(inspected.readiness))
        application.router.add_get("/startupz", self._checked(inspected.startup))
        application.router.add_get("/grpcz", self._grpcz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, keepalive_timeout=75)
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Bind and serve; the port. Raises OSError."""
        await self._runner.setup()
        self._listening = await asyncio.get_running_loop().create_server(
            self._admit, None if host == "*" else host, port, backlog=128
        )
        return int(self._listening.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop serving."""
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()

    def _admit(self) -> asyncio.Protocol:
        """A new connection. Above the limit the oldest is closed; a probe is answered long before that."""
        server = self._runner.server
        assert server is not None  # noqa: S101 — set up before anything listens
        open_now = server.connections
        if len(open_now) >= CONNECTIONS:
            open_now[0].force_close()
        return server()

    async def _livez(self, request: web.Request) -> web.Response:
        return _answer(self._inspected.liveness(), request)

    async def _grpcz(self, request: web.Request) -> web.Response:
        check = await self._inspected.grpc_health(request.query.get("service", ""))
        if check is None:
            return web.Response(status=404, text="not one of `health.grpc_services`\n")
        return _answer([check], request)

    @staticmethod
    def _checked(
        checks: Callable[[], Awaitable[Sequence[Check]]],
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            return _answer(await checks(), request)

        return answer

    async def _metrics(self, _request: web.Request) -> web.Response:
        snapshot, checks = await asyncio.gather(self._inspected.snapshot(), self._inspected.readiness())
        is_ready = all(check.ok for check in checks)
        snapshot["sidecar_ready"] = [([], [float(is_ready)])]
        body = exposed(snapshot)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})


def _answer(checks: Sequence[Check], request: web.Request) -> web.Response:
    ok = all(check.ok for check in checks)
    headers = {"Cache-Control": "no-store"}
    if "verbose" in request.query:
        text = dumps({"ok": ok, "checks": [asdict(check) for check in checks]}, indent=2) + "\n"
        return web.Response(
            status=200 if ok else 503, text=text, content_type="application/json", headers=headers
        )
    failing = "".join(f"{check.name}: {check.detail}\n" for check in checks if not check.ok)
    warnings = "".join(f"warning: {one.name}: {one.detail}\n" for one in checks if one.ok and one.detail)
    return web.Response(status=200 if ok else 503, text=(failing or "ok\n") + warnings, headers=headers)
