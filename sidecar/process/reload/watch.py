"""Notices that files changed: by polling, because that sees every way there is to change one.

Theory of operation: a file's fingerprint is where its name leads in the end (Kubernetes swaps the `..data` link far
above it), its inode, size and times; a folder's is the names in it. The fingerprints are taken in a thread. A change
is told once the fingerprints have stood still for one round, so that a file caught while it is written, or the first
of two that change together, rarely starts a reload that must fail.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

SETTLE = 0.2
"""Seconds in which nothing must change before a change is told."""
PATIENCE = 4
"""Looks after which a change is told although the files still change."""

Fingerprint = Mapping[Path, tuple[str, ...]]


def fingerprint(paths: Iterable[Path]) -> Fingerprint:
    """What the files look like now; a file that is not there has a look too."""
    return {path: _look(path) for path in paths}


def _look(path: Path) -> tuple[str, ...]:
    try:
        found = path.stat()
        if path.is_dir():
            return tuple(sorted(os.listdir(path)))  # noqa: PTH208 — names, in a thread, every round
        place = os.path.realpath(path)
    except OSError as error:
        return (type(error).__name__,)
    return place, str(found.st_ino), str(found.st_size), str(found.st_mtime_ns)


class Watcher:
    """Calls back, on the event loop, when one of the files it was told of has changed."""

    def __init__(self, paths: Iterable[Path], changed: Callable[[], object], interval: float = 1.0) -> None:
        self._changed = changed
        self._interval = interval
        self._seen = fingerprint(paths)

    def follow(self, paths: Iterable[Path]) -> None:
        """Watch these files from now on; those watched already, from how they were last seen."""
        self._seen = {path: self._seen.get(path) or _look(path) for path in paths}

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            if await self._has_changed():
                for _ in range(PATIENCE):
                    await asyncio.sleep(SETTLE)
                    if not await self._has_changed():
                        break
                self._changed()

    async def _has_changed(self) -> bool:
        """Whether something looks other than last time; how it looks now is remembered."""
        before = self._seen
        now = await asyncio.to_thread(fingerprint, before)
        if self._seen is not before:  # other files are followed since
            return False
        self._seen = now
        return now != before
