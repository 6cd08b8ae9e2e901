"""The latest decisions for the admin page: kept as records, rendered only on request."""

from typing import Final

from sidecar.telemetry.outcome import Labels
from sidecar.telemetry.record import AuditRecord

KEPT: Final = 200
"""Number of decisions that the page shows."""

Entry = tuple[int, AuditRecord, Labels]
"""Sequence number, record, and its rule, outcome and reason."""


class LiveDecisions:
    """The latest records."""

    def __init__(self) -> None:
        self._recent: list[AuditRecord] = []
        """Record number n is at (n - 1) modulo `KEPT`."""
        self._number = 0

    def append(self, record: AuditRecord, labels: Labels) -> None:
        """Add one record."""
        record.labels = labels
        number = self._number
        self._number = number + 1
        if number < KEPT:
            self._recent.append(record)
        else:
            self._recent[number % KEPT] = record

    def since(self, number: int = 0) -> list[Entry]:
        """The kept records after `number`, oldest first."""
        first, recent = max(number, self._number - KEPT), self._recent
        return [(at + 1, recent[at % KEPT], recent[at % KEPT].labels) for at in range(first, self._number)]
