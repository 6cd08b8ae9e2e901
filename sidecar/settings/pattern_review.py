"""What two patterns have in common, for warnings about the order of rules; see `decision.glob`."""

from typing import Final

from sidecar.decision.glob import Glob

_SEPARATOR: Final = "."
_ANY: Final = "\0"
"""A character that is in no pattern: it fits wildcards only."""


def takes_all(wide: str, narrow: str) -> bool:
    """Whether each name that fits `narrow` fits `wide`; False if that is hard to decide."""
    glob = Glob(wide, _SEPARATOR)
    # What a wildcard may stand for, at its shortest and longer.
    fillings = ((_ANY, _ANY), (_ANY * 2, _ANY * 2), (_ANY, f"{_ANY}{_SEPARATOR}{_ANY}"))
    return all(glob.fits(narrow.replace("**", rest).replace("*", part)) for part, rest in fillings)


def meet(one: str, other: str) -> bool:
    """Whether some name fits both."""
    first, second = _steps(one), _steps(other)
    seen = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        at = waiting.pop()
        if at == (len(first), len(second)):
            return True
        for mine, to_mine in _moves(first, at[0]):
            for theirs, to_theirs in _moves(second, at[1]):
                to = (to_mine, to_theirs)
                if to not in seen and _share_a_character(mine, theirs):
                    seen.add(to)
                    waiting.append(to)
    return False


def _steps(pattern: str) -> list[str]:
    """Each a character, or a wildcard."""
    found: list[str] = []
    for char in pattern:
        if char == "*" and found[-1:] == ["*"]:
            found[-1] = "**"
        else:
            found.append(char)
    return found


def _moves(steps: list[str], at: int) -> list[tuple[str, int]]:
    """The positions that may be reached after the first `at` steps; a wildcard may take more characters."""
    found = [(steps[at], at + 1)] if at < len(steps) else []
    if at and "*" in steps[at - 1]:
        found.append((steps[at - 1], at))
    return found


def _share_a_character(one: str, other: str) -> bool:
    if "**" in (one, other):
        return True
    if "*" in (one, other):
        return _SEPARATOR not in (one, other)
    return one == other
