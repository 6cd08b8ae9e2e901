"""Reports about the certificates that clients publish: metrics without a client's name, and log lines with it.

There may be ten thousand clients, each with its own URL. No metric label contains one. If many fail at the same time,
a few get a line each, and the others a summary.
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
"""Maximum number of URLs whose last failure is remembered; the recovery of others is logged at level `debug`."""


class ClientKeysTelemetry:
    """Implements `IssuerObserver` for certificates of clients (RFC 8705 §2.2.2). The issuer's name is a URL here."""

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
        """Called for each fetch if tracing is on."""

    def keys_refreshed(self, event: KeysRefreshed) -> None:
        """A fetch of a URL is over."""
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
        """A key is skipped that was not skipped before."""
        if self._allowances.take(self._monotonic(), "client key skipped"):
            self._journal.warning(
                "client key skipped",
                url=bounded(event.issuer),
                key=bounded(event.key),
                reason=event.reason,
                detail=bounded(event.detail),
            )

    def introspected(self, event: Introspected) -> None:
        """Not used: clients have no introspection."""

    def issuer_incident(self, issuer: str, name: str, detail: str) -> None:
        """An event that an operator should see."""
        self._metrics.increment("sidecar_incidents_total", name)
        if self._allowances.take(self._monotonic(), name):
            self._journal.warning(
                "client keys incident", url=bounded(issuer), name=name, detail=bounded(detail)
            )

    def _tell_sum(self, name: str, detail: str, count: int) -> None:
        """Write the line that summarises the omitted lines of one kind."""
        members = {"detail": detail} if detail else {}
        self._journal.info("lines suppressed", name=name, count=count, **members)
