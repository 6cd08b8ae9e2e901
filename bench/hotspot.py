"""Adds up the stacks of a sampling profiler. Pure: collapsed stacks in, shares out.

A collapsed stack is `outer (file:line);…;inner (file:line) count`, as py-spy's raw format and perf scripts print.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_LINE = re.compile(r":\d+\)$")


@dataclass(frozen=True, slots=True)
class Hotspots:
    """Shares of all samples, in percent: by innermost function, by function anywhere on the stack, by file."""

    samples: int
    own: dict[str, float]
    within: dict[str, float]
    files: dict[str, float]


def hotspots(stacks: Iterable[str]) -> Hotspots:
    """The shares of functions and files; a function that calls itself counts once a stack."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    files: Counter[str] = Counter()
    total = 0
    for line in stacks:
        stack, _, number = line.rstrip().rpartition(" ")
        if not stack:
            continue
        count = int(number)
        frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
        total += count
        own[frames[-1]] += count
        files[_file(frames[-1])] += count
        for frame in set(frames):
            within[frame] += count
    return Hotspots(total, _shares(own, total), _shares(within, total), _shares(files, total))


def _file(frame: str) -> str:
    return frame.rpartition("(")[2].rstrip(")")


def _shares(counts: Counter[str], total: int) -> dict[str, float]:
    return {name: 100 * count / total for name, count in counts.most_common()}
