"""Reports about the certificates that clients publish: figures without a client's name, and lines with it.

There may be ten thousand clients, each with a URL of its own: no label of a metric names one, and of many that fail at
the same time a few have a line each, the others a sum.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sidecar.telemetry.access import bounded
from sidecar.telemetry.allowance import Allowances
from sidecar.telemetry.issuer_observer import Introspected, KeySkipped, KeysRefreshed
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from sidecar.telemetry.tracing import Tracer

_MOST_FAILING: Final = 10_000
"""URLs of which it is remembered that they failed last: the recovery of others is told at the level `debug`."""


class ClientKeysTelemetry:
    """Implements `IssuerObserver` for what clients publish (RFC 8705 §2.2.2). An issuer's name is a URL here."""

    def __init__(
        self,
        metrics: Metrics,
        journal: Journal,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._journal = journal
        self._clock = clock
        self._monotonic = monotonic
        self._allowances = Allowances(self._tell_sum)
        self._failing: set[str] = set()
        self.tracer: Tracer | None = None
        """Told of each fetch when tracing is on."""

    def keys_refreshed(self, event: KeysRefreshed) -> None:
        """A URL was fetched, or was not."""
        self._metrics.increment("sidecar_client_keys_refresh_total", event.result)
        if self.tracer is not None:
            self.tracer.keys_refreshed(event, self._clock())
        if event.result == "success":
            recovered = event.issuer in self._failing
            self._failing.discard(event.issuer)
            if recovered and self._allowances.take(self._monotonic(), "client keys fetched"):
                self._journal.info("client keys fetched", url=bounded(event.issuer), keys=event.usable)
            return
        if len(self._failing) < _MOST_FAILING:
            self._failing.add(event.issuer)
        if self._allowances.take(self._monotonic(), "client keys not fetched", event.result):
            self._journal.warning(
                "client keys not fetched",
                url=bounded(event.issuer),
                phase=event.result,
                detail=bounded(event.detail),
                keys_still_held=event.usable,
            )

    def key_skipped(self, event: KeySkipped) -> None:
        """A key that was not skipped before is skipped now."""
        if self._allowances.take(self._monotonic(), "client key skipped"):
            self._journal.warning(
                "client key skipped",
                url=bounded(event.issuer),
                key=bounded(event.key),
                reason=event.reason,
                detail=bounded(event.detail),
            )

    def introspected(self, event: Introspected) -> None:
        """No client is asked about tokens."""

    def issuer_incident(self, issuer: str, name: str, detail: str) -> None:
        """Something an operator should read."""
        self._metrics.increment("sidecar_incidents_total", name)
        if self._allowances.take(self._monotonic(), name):
            self._journal.warning(
                "client keys incident", url=bounded(issuer), name=name, detail=bounded(detail)
            )

    def _tell_sum(self, name: str, detail: str, count: int) -> None:
        """The line that sums up what was left out of one kind."""
        members = {"detail": detail} if detail else {}
        self._journal.info("lines suppressed", name=name, count=count, **members)
