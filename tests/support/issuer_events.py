"""An issuer observer that remembers, and the settings that make the issuer side quick enough for tests."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import (
    HttpSettings,
    IssuerSettings,
    JwksUrl,
    KeyOrigin,
    RefreshSettings,
)
from sidecar.telemetry.issuer_observer import Introspected, KeySkipped, KeysRefreshed
from tests.support.issuer import ScriptedIssuer
from tests.support.pki import certificate_pem

QUICK = RefreshSettings(
    minimum_interval=30.0,
    default_interval=30.0,
    cool_down=0.3,
    unknown_kid_lifetime=5.0,
    staleness_budget=60.0,
    retry_maximum=0.3,
)
"""Background fetches half a minute apart, forced ones and retries a third of a second."""

PLAIN = HttpSettings(timeout=20.0, connect_timeout=10.0, insecure_plain_http_anyone_can_forge_keys=True)
"""Times that a busy machine keeps: a test of a deadline sets its own."""


@dataclass
class IssuerEvents:
    """Implements `IssuerObserver`: keeps everything it is told."""

    refreshed: list[KeysRefreshed] = field(default_factory=list)
    skipped: list[KeySkipped] = field(default_factory=list)
    introspections: list[Introspected] = field(default_factory=list)
    incidents: list[tuple[str, str, str]] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    """When each fetch of keys began, by this process: the issuer hears of it later, on a busy machine much later."""

    def keys_refreshed(self, event: KeysRefreshed) -> None:
        self.refreshed.append(event)
        self.begun.append(time.monotonic() - event.seconds)

    def key_skipped(self, event: KeySkipped) -> None:
        self.skipped.append(event)

    def introspected(self, event: Introspected) -> None:
        self.introspections.append(event)

    def issuer_incident(self, issuer: str, name: str, detail: str) -> None:
        self.incidents.append((issuer, name, detail))

    @property
    def results(self) -> list[str]:
        return [event.result for event in self.refreshed]


def http_settings(issuer: ScriptedIssuer, folder: Path) -> HttpSettings:
    """How to reach a scripted issuer: its certificate's authority is trusted when it has one."""
    if issuer.certificate is None:
        return PLAIN
    bundle = folder / "issuer-ca.pem"
    bundle.write_bytes(certificate_pem(issuer.certificate.certificate))
    return replace(PLAIN, ca_file=bundle, insecure_plain_http_anyone_can_forge_keys=False)


def issuer_settings(
    issuer: ScriptedIssuer, keys: KeyOrigin | None = None, refresh: RefreshSettings = QUICK
) -> IssuerSettings:
    """Settings for a scripted issuer on plain http."""
    return IssuerSettings(issuer.url, keys or JwksUrl(issuer.jwks_url), refresh, PLAIN)


async def until(holds: Callable[[], bool], within: float = 120.0) -> None:
    """Waits until `holds()`; raises `TimeoutError`."""
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.01)


class ManualClock:
    """Both clocks, moved by hand. The wall clock may jump alone."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self.monotonic = 1000.0
        self.wall = wall
        self.clock = Clock(lambda: self.monotonic, lambda: self.wall)

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.monotonic += seconds
        self.wall += seconds

    def jump(self, seconds: float) -> None:
        """The wall clock is set."""
        self.wall += seconds
