"""Limits the rate of log lines about events: a few of each kind, then a summary.

A kind is an event name and, if given, a detail. For example, a hundred clients with an unknown authority must not
hide the one whose certificate has expired, though both handshakes fail under one name. A detail may depend on data
from strangers, so the number of kinds is limited; all others of a name share the allowance of that name.
"""

from collections.abc import Callable
from dataclasses import dataclass

BURST, PERIOD = 5, 10.0
"""Number of lines of one kind, and the period in seconds."""
MOST_DETAILS = 32
"""Maximum number of kinds with a detail that are counted separately."""

Sum = Callable[[str, str, int], None]
"""Called for omitted lines: name, detail (may be empty), how many."""


@dataclass(slots=True)
class _Allowance:
    until: float
    left: int = BURST
    suppressed: int = 0


class Allowances:
    """The allowances of all kinds. `tell` is called for omitted lines, at the latest when a kind is removed."""

    def __init__(self, tell: Sum) -> None:
        self._tell = tell
        self._plain: dict[str, _Allowance] = {}
        self._detailed: dict[tuple[str, str], _Allowance] = {}

    def take(self, now: float, name: str, detail: str = "") -> bool:
        """Whether a line of this kind may be written at `now` (seconds of a clock that never jumps)."""
        allowance = self._of(now, name, detail)
        if allowance.left:
            allowance.left -= 1
            return True
        allowance.suppressed += 1
        return False

    def _of(self, now: float, name: str, detail: str) -> _Allowance:
        if detail and (name, detail) not in self._detailed:
            self._forget(now)
            if len(self._detailed) >= MOST_DETAILS:
                detail = ""
        found = self._detailed.get((name, detail)) if detail else self._plain.get(name)
        if found is not None and now < found.until:
            return found
        fresh = _Allowance(now + PERIOD)
        if detail:
            self._detailed[name, detail] = fresh
        else:
            self._plain[name] = fresh
        if found is not None and found.suppressed:
            self._tell(name, detail, found.suppressed)
        return fresh

    def _forget(self, now: float) -> None:
        """If necessary, remove kinds whose period is over."""
        if len(self._detailed) < MOST_DETAILS:
            return
        for (name, detail), allowance in list(self._detailed.items()):
            if now >= allowance.until:
                del self._detailed[name, detail]
                if allowance.suppressed:
                    self._tell(name, detail, allowance.suppressed)
