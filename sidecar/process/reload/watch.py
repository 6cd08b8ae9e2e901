"""Notices changes of files by polling, because polling sees every kind of change.

Theory of operation: what counts is what a file holds, who owns it and who may read it; a file that was only touched, or
replaced by its like, has not changed. It is read again when its place, inode, size or times are others than last time.
Of a folder only the names that a pattern of the configuration matches count; other files are not looked at.
All of it is looked at in a thread. A change is told once everything has stood still for one round, so that a file that
is being written, or the first of two that change together, rarely starts a reload that must fail.
Files are read before they are watched. One that changed in between is "not seen yet": the next look finds it changed.
"""

import asyncio
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from sidecar.process.host.exhaustion import EXHAUSTED
from sidecar.process.reload.overtaken import names, overtaken

SETTLE = 0.2
"""Time without further changes before a change is reported, in seconds."""
PATIENCE = 4
"""Looks after which a change is reported although the files still change."""
LARGEST = 64 << 20
"""Bytes of a file that are compared; of one that is larger, the rest goes by its size and times."""
_DESCRIPTORS = 4
"""As many must be free for a look to be trusted."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What was seen of a file, or of the names that match a pattern."""

    held: tuple[object, ...]
    """What counts."""
    place: tuple[object, ...] = field(default=(), compare=False)
    """File attributes; if they are equal, nothing can have changed."""


_NOT_SEEN = FileState(("not seen yet",))
Looks = Mapping[Path | str, FileState]
"""A path for a file, text for a pattern."""


def look(watched: Iterable[Path | str], before: Looks) -> Looks:
    """What there is to see now; as `before` where the system lets us see nothing."""
    if _is_exhausted():
        return before
    try:
        seen = {one: _file(one, before.get(one)) if isinstance(one, Path) else _names(one) for one in watched}
    except OSError:  # exhausted meanwhile
        return before
    return before if _is_exhausted() else seen


def _is_exhausted() -> bool:
    """Whether files cannot even be opened: `glob` would find nothing, and say nothing."""
    opened: list[int] = []
    try:
        for _ in range(_DESCRIPTORS):
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))  # noqa: PERF401 — closed if one fails
    except OSError as error:
        return error.errno in EXHAUSTED
    finally:
        for one in opened:
            os.close(one)
    return False


def _names(pattern: str) -> FileState:
    return FileState(tuple(sorted(names(pattern))))


def _file(path: Path, before: FileState | None) -> FileState:
    """Raises OSError when this process cannot open files."""
    try:
        found = path.stat()
        place = (os.path.realpath(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if before is not None and before.place == place:
            return before
        return FileState((_content(path, found), found.st_mode, found.st_uid, found.st_gid), place)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            raise
        return FileState((type(error).__name__,))


def _content(path: Path, found: os.stat_result) -> object:
    if not stat.S_ISREG(found.st_mode):
        return found.st_ino
    try:
        with path.open("rb") as file:
            digest = sha256(file.read(LARGEST)).digest()
    except PermissionError:  # root was given up since: the size and times must do
        return found.st_ino, found.st_size, found.st_mtime_ns
    return digest if found.st_size <= LARGEST else (digest, found.st_size, found.st_mtime_ns)


class Watcher:
    """Calls back, on the event loop, when something it was told of has changed."""

    def __init__(
        self,
        watched: Iterable[Path | str],
        changed: Callable[[], object],
        interval: float = 1.0,
        since: int | None = None,
    ) -> None:
        """`watched`: a path for a file, text for a pattern of files that come and go; `since`: as for `follow`."""
        self._changed = changed
        self._interval = interval
        self._seen: Looks = {}
        self.follow(watched, since)

    def follow(self, watched: Iterable[Path | str], since: int | None = None) -> None:
        """Watch these from now on; those watched already, from how they were last seen.

        `since`: when they began to be read (`overtaken.clock`); None: no change before now counts.
        """
        wanted = list(watched)
        new = [one for one in wanted if one not in self._seen]
        fresh = dict(look(new, {}))
        if since is not None:  # asked after the look, so that no change falls between the two
            for one in overtaken(new, (path for path in wanted if isinstance(path, Path)), since):
                fresh.pop(one, None)
        self._seen = {one: self._seen.get(one) or fresh.get(one) or _NOT_SEEN for one in wanted}

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
        """Whether something changed since the last look; keeps the present state."""
        before = self._seen
        now = await asyncio.to_thread(look, tuple(before), before)
        if self._seen is not before:  # other files are followed since
            return False
        self._seen = now
        return now != before
