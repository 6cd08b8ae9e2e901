"""Gives memory back that the C library keeps: after a flood of handshakes it would hold four times what is in use.

Theory of operation. glibc gives back only what lies at the end of its heap. `malloc_trim` gives back the pages in
between, in some 10 ms for each 100 MiB that nobody uses, so it is called when there is something to give: a quarter of
the connections are gone, or memory is short. A flood that is seen while it leaves may have too few left to be noticed
again: they are remembered, and once most of them are gone there is a last call. Where there is no such function (musl)
nothing happens.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Final

_FEW: Final = 256
"""Connections that are too few to be noticed."""
_LAST: Final = 32
"""Connections whose memory may be kept when a flood has gone: for fewer no further call is made."""
_PAUSE: Final = 5
"""Looks between two calls."""


_CGROUPS: Final = Path("/sys/fs/cgroup")
_SHARE: Final = 0.85
"""Share of the cgroup's limit: a burst fits into the rest, and what the kernel counts besides."""
_SUPERVISOR: Final = 40 << 20
"""Bytes of a process that only looks after others."""


def cgroup_bytes(root: Path = _CGROUPS) -> int:
    """The memory that this container may take, by the kernel's limit (cgroup v2, else v1); 0 where there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            said = (root / name).read_text().strip()
        except OSError:
            continue
        # `max`, or in v1 a number that no machine has: no limit.
        return int(said) if said.isdecimal() and int(said) < 1 << 50 else 0
    return 0


def watermark(chosen: int | None, workers: int, limit: int) -> int:
    """Resident bytes past which one of `workers` processes is short of memory: as chosen, else its part of the
    container's `limit`. 0: none.
    """
    if chosen is not None:
        return chosen
    shared = int(limit * _SHARE) - (_SUPERVISOR if workers > 1 else 0)
    return max(0, shared // workers)


def give_back() -> None:
    """Return to the system what the C library keeps and nobody uses."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


class MemoryReturn:
    """Looked at once a second: whether there is something to give back."""

    def __init__(
        self, connections: Callable[[], int], peak: Callable[[], int], give: Callable[[], None] = give_back
    ) -> None:
        """`connections` says how many are open, `peak` how many were at once since it was last asked: a flood may
        come and go between two looks.
        """
        self._connections = connections
        self._peak = peak
        self._give = give
        self._most = 0
        """Connections since the last call."""
        self._rest = 0
        """Connections of a flood that were still there at the last call, too few to be noticed by themselves."""
        self._pause = 0

    def look(self, *, is_short: bool = False) -> bool:
        """Give back what is to be given; whether anything was tried."""
        now = self._connections()
        self._most = max(self._most, now, self._peak())
        self._pause = max(0, self._pause - 1)
        have_left = self._most >= _FEW and now <= self._most * 3 // 4
        rest_has_left = now < self._rest // 4
        if self._pause or not (is_short or have_left or rest_has_left):
            return False
        self._give()
        self._rest = now if have_left and _LAST <= now < _FEW else 0
        self._most, self._pause = now, _PAUSE
        return True
