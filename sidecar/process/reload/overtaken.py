"""Which files changed after their reading began, and before the watcher first looked at them.

Theory of operation: the kernel dates each change of an inode (`st_ctime`), and user programs cannot set that date. A
file counts as changed when it, or a link on the way to it, is dated at or after the beginning: Kubernetes writes a
volume first and swaps the link `..data` to it later. Folders do not count, since other files in them change their
dates; so a folder that is renamed into the place of another in this short time is not noticed. A pattern counts as
changed when it matches a file that was not read. Where a file system dates by a clock that is ahead
(a remote one; since Linux 6.13 any, by less than 10 ms), a file that was written just before the start costs one
reload.
"""

import glob
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_COARSE: Final = 5
"""`CLOCK_REALTIME_COARSE` of Linux, which Python has no name for."""
_Ways = dict[str, tuple[str, int]]
"""A path → where it leads, and the latest date of a link on the way."""


def clock() -> int:
    """Now, in nanoseconds, by the clock from which the kernel dates changes: it may be some milliseconds behind."""
    return time.clock_gettime_ns(_COARSE)


def names(pattern: str) -> list[str]:
    """What an absolute pattern matches. It asks the file system."""
    return glob.glob(pattern, recursive=True)  # noqa: PTH207


def overtaken(watched: Iterable[Path | str], read: Iterable[Path], since: int) -> set[Path | str]:
    """Those of `watched` (a path for a file, text for a pattern) that may have changed since.

    `read`: every file that was read; `since`: when that began (`clock`). What this process may not look at is left out.
    """
    ways: _Ways = {}
    known = {path.absolute() for path in read}
    return {
        one
        for one in watched
        if (_is_newer(one, since, ways) if isinstance(one, Path) else _matches_more(one, known))
    }


def _matches_more(pattern: str, known: set[Path]) -> bool:
    matching = map(Path, names(pattern))
    return any(path.is_file() for path in matching if path not in known)


def _is_newer(path: Path, since: int, ways: _Ways) -> bool:
    try:
        place, newest = _followed(str(path.absolute()), ways)
        found = os.stat(place)  # noqa: PTH116 — thousands of files: no further objects
    except PermissionError:
        return False
    except (OSError, ValueError, RecursionError):  # it could be read then, and cannot now
        return True
    return newest >= since or (stat.S_ISREG(found.st_mode) and found.st_ctime_ns >= since)


def _followed(path: str, ways: _Ways) -> tuple[str, int]:
    """Where an absolute path leads, and the latest date of a link on the way. Raises OSError and RecursionError."""
    if path in ways:
        return ways[path]
    folder, name = os.path.split(path)
    if folder == path:  # the root
        return path, 0
    at, newest = _followed(folder, ways)
    if name == "..":
        at = os.path.dirname(at)  # noqa: PTH120
    elif name not in {"", "."}:
        at, newest = _step(at, name, newest, ways)
    ways[path] = at, newest
    return at, newest


def _step(folder: str, name: str, newest: int, ways: _Ways) -> tuple[str, int]:
    at = os.path.join(folder, name)  # noqa: PTH118
    found = os.lstat(at)
    if not stat.S_ISLNK(found.st_mode):
        return at, newest
    target = os.path.join(folder, os.readlink(at))  # noqa: PTH115, PTH118
    at, further = _followed(target, ways)
    return at, max(newest, further, found.st_ctime_ns)
