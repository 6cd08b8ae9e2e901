"""A watcher of files that counts its looks, so that a test waits for looks and never for a time."""

from collections.abc import Iterable
from pathlib import Path

from sidecar.process.reload.watch import Watcher


class CountingWatcher(Watcher):
    """Counts its looks, and how often it told of a change."""

    def __init__(self, watched: Iterable[Path | str], since: int | None = None) -> None:
        super().__init__(watched, self._tell, 0.01, since)
        self.looks = self.told = 0

    def _tell(self) -> None:
        self.told += 1

    async def _has_changed(self) -> bool:
        found = await super()._has_changed()
        self.looks += 1
        return found
