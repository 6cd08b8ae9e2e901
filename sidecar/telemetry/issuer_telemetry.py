"""Metrics and log lines about the issuer side."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sidecar.telemetry.access import bounded
from sidecar.telemetry.issuer_observer import Introspected, KeySkipped, KeysRefreshed
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from sidecar.telemetry.tracing import Tracer


class IssuerTelemetry:
    """Implements `IssuerObserver`. Keeps the last failure of each issuer for the admin page."""

    def __init__(self, metrics: Metrics, journal: Journal, clock: Callable[[], float] = time.time) -> None:
        self._metrics = metrics
        self._journal = journal
        self._clock = clock
        self.last_error: dict[str, str] = {}
        self.tracer: Tracer | None = None
        """Called for each fetch and question if tracing is on."""

    def keys_refreshed(self, event: KeysRefreshed) -> None:
        """A fetch of keys is over: each failure and each recovery is logged."""
        self._metrics.increment("sidecar_jwks_refresh_total", event.issuer, event.result)
        if self.tracer is not None:
            self.tracer.keys_refreshed(event, self._clock())
        if event.result == "success":
            recovered = self.last_error.pop(event.issuer, None) is not None
            say = self._journal.info if recovered else self._journal.debug
            say(
                "issuer keys fetched",
                issuer=event.issuer,
                keys=event.usable,
                duration=round(event.seconds, 6),
            )
            return
        self.last_error[event.issuer] = f"{event.result}: {bounded(event.detail)}"
        self._journal.warning(
            "issuer keys not fetched",
            issuer=event.issuer,
            phase=event.result,
            detail=bounded(event.detail),
            keys_still_held=event.usable,
        )

    def key_skipped(self, event: KeySkipped) -> None:
        """A key is skipped that was not skipped before."""
        self._journal.warning(
            "issuer key skipped",
            issuer=event.issuer,
            key=bounded(event.key),
            reason=event.reason,
            detail=bounded(event.detail),
        )

    def introspected(self, event: Introspected) -> None:
        """A question to an introspection endpoint is over."""
        self._metrics.histogram("sidecar_introspection_duration_seconds", event.issuer).observe(event.seconds)
        self._metrics.increment("sidecar_introspection_total", event.issuer, event.result)
        if self.tracer is not None:
            self.tracer.introspected(event, self._clock())
        if event.result not in {"active", "inactive"}:
            self.last_error[event.issuer] = f"introspection {event.result}: {bounded(event.detail)}"
            self._journal.warning(
                "introspection failed", issuer=event.issuer, phase=event.result, detail=bounded(event.detail)
            )
        else:
            self.last_error.pop(event.issuer, None)

    def issuer_incident(self, issuer: str, name: str, detail: str) -> None:
        """An event that an operator should see."""
        self._metrics.increment("sidecar_incidents_total", name)
        self._journal.warning("issuer incident", issuer=issuer, name=name, detail=bounded(detail))
