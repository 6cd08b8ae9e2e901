"""The last decisions, for those who watch: kept as records, rendered only when someone looks."""

from collections import deque
from collections.abc import Callable

from sidecar.telemetry.record import AuditRecord

KEPT = 200
"""Decisions shown to someone who opens the page."""

Entry = tuple[int, AuditRecord, tuple[str, str, str]]
"""Number, record, and its rule, outcome and reason."""
Watcher = Callable[[Entry], None]


class LiveDecisions:
    """A short memory of records, and who is told of each new one."""

    def __init__(self) -> None:
        self._recent: deque[Entry] = deque(maxlen=KEPT)
        self._number = 0
        self._watchers: set[Watcher] = set()

    def append(self, record: AuditRecord, labels: tuple[str, str, str]) -> None:
        """Remember one request."""
        self._number = number = self._number + 1
        entry = (number, record, labels)
        self._recent.append(entry)
        if self._watchers:
            for watcher in tuple(self._watchers):
                watcher(entry)

    def since(self, number: int = 0) -> list[Entry]:
        """The remembered requests after `number`, oldest first."""
        return [entry for entry in self._recent if entry[0] > number]

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` of every request from now on; it must neither block nor raise."""
        self._watchers.add(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Stop telling `watcher`."""
        self._watchers.discard(watcher)
