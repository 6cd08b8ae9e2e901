"""Reads what wrk prints. Pure."""

import re

from bench.sample import Sample

_REQUESTS = re.compile(r"^\s*(\d+) requests in ", re.MULTILINE)
_QUANTILE = re.compile(r"^\s*(50|99)%\s+([\d.]+)(us|ms|s)$", re.MULTILINE)
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def wrk_sample(printed: str, seconds: float, cpu_seconds: float, rss_kb: int) -> Sample:
    """A sample from `wrk --latency`; raises `ValueError` when there is no count of requests."""
    count = _REQUESTS.search(printed)
    if count is None:
        raise ValueError(f"wrk counted no requests: {printed}")
    found = {
        quantile: float(value) * _MILLISECONDS[unit] for quantile, value, unit in _QUANTILE.findall(printed)
    }
    return Sample(
        requests=int(count[1]),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        p50_ms=found["50"],
        p99_ms=found["99"],
        p999_ms=found["99"],
        rss_kb=rss_kb,
    )
