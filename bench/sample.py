"""What one measured window of one peer under one load gave, and the median of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypedDict


class Figures(TypedDict):
    """One cell of `build/bench.json`. `None`: this load does not measure that."""

    cpu_us_per_request: float | None
    requests_per_second: float | None
    p50_ms: float | None
    p99_ms: float | None
    rss_kb: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One window; `None`: its client does not measure that.

    CPU is user + system of all the proxy's processes; memory is taken right after."""

    requests: int
    seconds: float
    cpu_seconds: float
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    rss_kb: int
    connects: int = 0
    resumed: int = 0

    @property
    def cpu_us_per_request(self) -> float:
        return self.cpu_seconds * 1e6 / self.requests

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def resumed_share(self) -> float:
        return self.resumed / self.connects if self.connects else 0.0


def medians(samples: Sequence[Sample]) -> Figures:
    """Median of each figure on its own, rounded to what the measurement can tell."""
    return Figures(
        cpu_us_per_request=round(median(s.cpu_us_per_request for s in samples), 1),
        requests_per_second=round(median(s.requests_per_second for s in samples), 1),
        p50_ms=_median([s.p50_ms for s in samples]),
        p99_ms=_median([s.p99_ms for s in samples]),
        rss_kb=round(median(s.rss_kb for s in samples)),
    )


def _median(milliseconds: Sequence[float | None]) -> float | None:
    known = [each for each in milliseconds if each is not None]
    return round(median(known), 4) if known else None
