"""Checks that must hold before requests should be sent here: keys, upstream, certificates."""

import asyncio
import time
from collections.abc import Iterable

from sidecar.issuer.readiness import Readiness
from sidecar.process.endpoints.health import Check
from sidecar.process.host.exhaustion import EXHAUSTED
from sidecar.process.watches.certificates import CertificateInUse
from sidecar.proxy.configuration import HTTP2, UpstreamSettings
from sidecar.proxy.upstream.http2_visit import VisitFailed, visit

UPSTREAM_WITHIN = 1.0
"""Seconds in which the upstream's port must open."""
REMEMBERED = 1.0
"""Time for which a result is reused, in seconds: probes must not become a load on the API."""


class UpstreamProbe:
    """Whether the upstream's port opens, and answers in HTTP/2 where that is spoken in the clear.

    Tried at most once in `REMEMBERED` seconds, however often it is asked.
    """

    def __init__(self) -> None:
        self._last: asyncio.Task[Check] | None = None
        self._asked: tuple[float, str] = (0.0, "")

    async def check(self, settings: UpstreamSettings) -> Check:
        """The last result, or a new one."""
        name = f"upstream {settings.path or f'{settings.host}:{settings.port}'}"
        now = time.monotonic()
        if self._last is None or self._asked[1] != name or now - self._asked[0] > REMEMBERED:
            self._asked = (now, name)
            self._last = asyncio.create_task(_opened(name, settings))
        return await asyncio.shield(self._last)


async def _opened(name: str, settings: UpstreamSettings) -> Check:
    try:
        async with asyncio.timeout(UPSTREAM_WITHIN):
            if (
                settings.protocol == HTTP2 and settings.scheme != "https"
            ):  # there, files would be read each time
                (await visit(settings)).leave()
                return Check(name, ok=True)
            if settings.scheme == "unix":
                _, writer = await asyncio.open_unix_connection(settings.path)
            else:
                _, writer = await asyncio.open_connection(settings.host, settings.port)
    except VisitFailed as error:
        return Check(name, ok=False, detail=str(error))
    except TimeoutError:
        return Check(name, ok=False, detail=f"does not open within {UPSTREAM_WITHIN:g} s")
    except OSError as error:
        if error.errno in EXHAUSTED:  # that says nothing of the upstream
            return Check(name, ok=True, detail=f"cannot be looked at: {(error.strerror or '').lower()}")
        return Check(name, ok=False, detail=error.strerror or str(error))
    writer.close()
    return Check(name, ok=True)


def issuer_checks(readiness: Readiness) -> Iterable[Check]:
    """Whether the keys of each required issuer were loaded once; a later outage fails no check."""
    for state in readiness.states:
        waiting = not readiness.is_ready and state.issuer in readiness.waiting_for
        phase = f", last attempt failed: {state.failed_phase}" if state.failed_phase else ""
        detail = f"no keys yet{phase}" if waiting else ""
        yield Check(f"issuer keys {state.issuer}", ok=not waiting, detail=detail)


def certificate_checks(certificates: Iterable[CertificateInUse], now: float) -> Iterable[Check]:
    """Whether the sidecar's own certificates are valid at `now`, in seconds since the epoch."""
    for one in certificates:
        if one.is_ours:
            detail = one.fault(now)
            yield Check(f"certificate of {one.use}", ok=not detail, detail=detail)
