"""What must hold before requests should come here: keys, upstream, certificates."""

import asyncio
from collections.abc import Iterable

from sidecar.issuer.readiness import Readiness
from sidecar.process.certificates import CertificateInUse
from sidecar.process.health import Check
from sidecar.proxy.configuration import UpstreamSettings

UPSTREAM_WITHIN = 1.0
"""Seconds in which the upstream's port must open."""


async def upstream_check(settings: UpstreamSettings) -> Check:
    """Whether the upstream's port opens."""
    name = f"upstream {settings.path or f'{settings.host}:{settings.port}'}"
    try:
        async with asyncio.timeout(UPSTREAM_WITHIN):
            if settings.scheme == "unix":
                _, writer = await asyncio.open_unix_connection(settings.path)
            else:
                _, writer = await asyncio.open_connection(settings.host, settings.port)
    except TimeoutError:
        return Check(name, ok=False, detail=f"does not open within {UPSTREAM_WITHIN:g} s")
    except OSError as error:
        return Check(name, ok=False, detail=error.strerror or str(error))
    writer.close()
    return Check(name, ok=True)


def issuer_checks(readiness: Readiness) -> Iterable[Check]:
    """Whether the keys of each issuer that is needed have been here; a later outage fails no check."""
    for state in readiness.states:
        waiting = not readiness.is_ready and state.issuer in readiness.waiting_for
        phase = f", last attempt failed: {state.failed_phase}" if state.failed_phase else ""
        detail = f"no keys yet{phase}" if waiting else ""
        yield Check(f"issuer keys {state.issuer}", ok=not waiting, detail=detail)


def certificate_checks(certificates: Iterable[CertificateInUse], now: float) -> Iterable[Check]:
    """Whether what we present to others is valid at `now`."""
    for one in certificates:
        if one.is_ours:
            detail = "expired" if now > one.not_after else "not valid yet" if now < one.not_before else ""
            yield Check(f"certificate of {one.use}", ok=not detail, detail=detail)
