"""The last decisions for the admin page: kept as records, rendered only when someone looks."""

from collections import deque
from typing import Final

from sidecar.telemetry.record import AuditRecord

KEPT: Final = 200
"""Decisions shown to someone who opens the page."""

Entry = tuple[int, AuditRecord, tuple[str, str, str]]
"""Number, record, and its rule, outcome and reason."""


class LiveDecisions:
    """A short memory of records."""

    def __init__(self) -> None:
        self._recent: deque[Entry] = deque(maxlen=KEPT)
        self._number = 0

    def append(self, record: AuditRecord, labels: tuple[str, str, str]) -> None:
        """Remember one request."""
        self._number = number = self._number + 1
        self._recent.append((number, record, labels))

    def since(self, number: int = 0) -> list[Entry]:
        """The remembered requests after `number`, oldest first."""
        if self._number <= number:
            return []
        return [entry for entry in self._recent if entry[0] > number]
