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
    """One window. CPU is user + system of all the proxy's processes; memory is taken right after."""

    requests: int
    seconds: float
    cpu_seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
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
        p50_ms=round(median(s.p50_ms for s in samples), 4),
        p99_ms=round(median(s.p99_ms for s in samples), 4),
        rss_kb=round(median(s.rss_kb for s in samples)),
    )
