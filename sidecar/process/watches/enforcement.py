"""The end of report-only: in the last two weeks a log line once a day, and always a metric."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from sidecar.decision.policy import Policy, ReportOnly
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Sample

SOON = 14 * 86400
"""Seconds before the end from which the log announces it."""
LOOK = 600.0
"""Seconds between two looks at the calendar."""
_DAY = 86400


def endings(policy: Policy) -> Iterator[tuple[str, str, int]]:
    """A report-only period: of a `rule` or an `issuer`, its name, and when it ends (seconds since the epoch)."""
    kinds: list[tuple[str, str, ReportOnly | None]] = [
        *(("issuer", one.issuer, one.report_only) for one in policy.issuers.values()),
        *(("rule", one.name, one.report_only) for one in policy.rules if not one.public),
    ]
    for kind, name, report_only in kinds:
        if report_only is not None:
            yield kind, name, report_only.until


class EnforcementWatch:
    """Checks the dates; logs each coming end once a day, and once more when it has come."""

    def __init__(
        self, policy: Callable[[], Policy], journal: Journal, clock: Callable[[], float] = time.time
    ) -> None:
        self._policy = policy
        self._journal = journal
        self._clock = clock
        self._told: dict[tuple[str, str, int], int] = {}
        """The day on which each end was last logged; -1 when it has come."""

    def look(self) -> None:
        """Log what is due now."""
        now = int(self._clock())
        current = set(endings(self._policy()))
        self._told = {ending: day for ending, day in self._told.items() if ending in current}
        for ending in sorted(current):
            until = ending[2]
            if until <= now:
                self._tell(ending, -1, "report only has ended: enforcing")
            elif until - now <= SOON:
                self._tell(ending, now // _DAY, "report only ends soon")

    def _tell(self, ending: tuple[str, str, int], day: int, event: str) -> None:
        if self._told.get(ending) != day:
            self._told[ending] = day
            kind, name, until = ending
            on = datetime.fromtimestamp(until, UTC).date().isoformat()
            self._journal.warning(event, **{kind: name}, on=on)

    def samples(self) -> Iterator[Sample]:
        """The ends of all report-only periods."""
        for kind, name, until in endings(self._policy()):
            yield Sample("sidecar_report_only_ends_seconds", (kind, name), until)
