"""The latest decisions for the admin page: kept as records, rendered only on request."""

from collections import deque
from typing import Final

from sidecar.telemetry.record import AuditRecord

KEPT: Final = 200
"""Number of decisions that the page shows."""

Entry = tuple[int, AuditRecord, tuple[str, str, str]]
"""Sequence number, record, and its rule, outcome and reason."""


class LiveDecisions:
    """The latest records."""

    def __init__(self) -> None:
        self._recent: deque[Entry] = deque(maxlen=KEPT)
        self._number = 0

    def append(self, record: AuditRecord, labels: tuple[str, str, str]) -> None:
        """Add one record."""
        self._number = number = self._number + 1
        self._recent.append((number, record, labels))

    def since(self, number: int = 0) -> list[Entry]:
        """The kept records after `number`, oldest first."""
        if self._number <= number:
            return []
        return [entry for entry in self._recent if entry[0] > number]
