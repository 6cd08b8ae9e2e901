"""Whether a gRPC service of the upstream is healthy, asked like a gRPC probe of the kubelet.

The kubelet speaks gRPC in the clear to the Pod's address, where an API on loopback does not answer. So its probe
becomes one of the health server (`/grpcz`), which asks in its place. Only services that the configuration lists are
asked for, and each at most once a second, however many ask.
"""

import asyncio
import time
from typing import Final

from sidecar.http import grpc_health
from sidecar.http.grpc import NAMES, said_status
from sidecar.process.endpoints.health import Check
from sidecar.proxy.configuration import UpstreamSettings
from sidecar.proxy.upstream.http2_visit import Said, VisitFailed, visit

WITHIN: Final = 4.0
"""Seconds that an answer may take: less than a supervisor waits for its worker."""
_NAMES: Final = {**NAMES, 5: "NOT_FOUND"}
"""NOT_FOUND is what the check answers of a service that the server does not know."""
REMEMBERED: Final = 1.0
"""Time for which a result is reused, in seconds: probes must not become a load on the API."""


class GrpcHealth:
    """Asks, and keeps the result for a moment."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[float, UpstreamSettings, asyncio.Task[Check]]] = {}

    async def check(self, service: str, settings: UpstreamSettings) -> Check:
        """The last result, or a new one. The caller bounds how many services there are."""
        now = time.monotonic()
        at, asked, task = self._asked.get(service, (0.0, None, None))
        if task is None or asked is not settings or now - at > REMEMBERED:
            task = asyncio.create_task(_checked(service, settings))
            self._asked[service] = (now, settings, task)
        return await asyncio.shield(task)


async def _checked(service: str, settings: UpstreamSettings) -> Check:
    name = f"gRPC service {service}" if service else "gRPC server"
    try:
        async with asyncio.timeout(WITHIN):
            said = await _said(service, settings)
    except TimeoutError:
        said = f"no answer within {WITHIN:g} s"
    except OSError as error:
        said = error.strerror or type(error).__name__
    except (VisitFailed, grpc_health.NoHealth) as error:
        said = str(error)
    return Check(name, ok=said == grpc_health.SERVING, detail="" if said == grpc_health.SERVING else said)


async def _said(service: str, settings: UpstreamSettings) -> str:
    made = await visit(settings)
    try:
        scheme = b"https" if settings.scheme == "https" else b"http"
        made.ask(grpc_health.fields(scheme, _authority(settings), int(WITHIN)), grpc_health.question(service))
        return _status(await made.answered)
    finally:
        made.leave()


def _authority(settings: UpstreamSettings) -> bytes:
    if settings.scheme == "unix":
        return b"localhost"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.port}".encode("ascii")


def _status(answer: Said) -> str:
    if answer.fields.get(b":status") != b"200":
        return "the answer is none of gRPC"
    code = said_status(list(answer.fields.items()))
    if code:
        return f"grpc-status {_NAMES.get(code, code)}"
    return grpc_health.status(answer.content)
