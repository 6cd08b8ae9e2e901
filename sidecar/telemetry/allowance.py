"""Rate limit of log lines about events: a few of each kind, then a sum.

A kind is a name of ours and, where it is given, a detail: a hundred clients of an unknown authority must not hide the
one whose certificate has expired, though both handshakes failed by one name. A detail may follow from what a stranger
sent, so only so many are told apart at a time; all others of a name share what the name alone is allowed.
"""

from collections.abc import Callable
from dataclasses import dataclass

BURST, PERIOD = 5, 10.0
"""Lines of one kind, per so many seconds."""
MOST_DETAILS = 32
"""Kinds with a detail that are told apart at a time."""

Sum = Callable[[str, str, int], None]
"""Told of lines that were not written: name, detail (may be empty), how many."""


@dataclass(slots=True)
class _Allowance:
    until: float
    left: int = BURST
    suppressed: int = 0


class Allowances:
    """The allowances of all kinds. `tell` is told what was left out, at the latest when a kind is forgotten."""

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
        """Make room, if there is none, of kinds whose time is over."""
        if len(self._detailed) < MOST_DETAILS:
            return
        for (name, detail), allowance in list(self._detailed.items()):
            if now >= allowance.until:
                del self._detailed[name, detail]
                if allowance.suppressed:
                    self._tell(name, detail, allowance.suppressed)
