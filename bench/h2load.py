"""What h2load is asked for, and what it prints: the load client of HTTP/2, which the shim lends a certificate. Pure."""

import re
from dataclasses import dataclass
from pathlib import Path

from bench.sample import Sample

PROGRAM = "h2load"
_COUNT = re.compile(r"^requests: .* (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", re.MULTILINE)
_STATUS = re.compile(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", re.MULTILINE)
_CONTENT = re.compile(r"^traffic: .* \((\d+)\) data", re.MULTILINE)
_SECONDS = re.compile(r"^finished in ([\d.]+)(us|ms|s), ", re.MULTILINE)
_UNIT = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Streams:
    """How many requests are under way at once, and what they are."""

    connections: int
    each: int
    """Requests at once on a connection of HTTP/2; of HTTP/1.1 it is one, on 32 connections."""
    path: str = "/accounts/1"
    message: Path | None = None
    """The message of a gRPC call; None: GET."""

    def arguments(self, token: str, *, http1: bool) -> list[str]:
        """Without the URL's origin and without an end."""
        words = ["--threads=1", "--header", f"authorization: Bearer {token}"]
        if http1:
            return [*words, "--h1", "--clients=32", "--max-concurrent-streams=1"]
        words += [f"--clients={self.connections}", f"--max-concurrent-streams={self.each}"]
        if self.message is not None:
            words += [f"--data={self.message}", "--header", "content-type: application/grpc"]
            words += ["--header", "te: trailers"]
        return words


@dataclass(frozen=True, slots=True)
class Said:
    """What h2load printed."""

    done: int
    permitted: int
    """Answers of a status from 200 to 299."""
    refused: int
    content: int
    """Bytes of all answers' content."""
    seconds: float

    def sample(self, cpu_seconds: float, rss_kb: int) -> Sample:
        """It tells no quantiles of latency."""
        return Sample(self.done, self.seconds, cpu_seconds, None, None, None, rss_kb)


def read(printed: str) -> Said:
    """Raises `ValueError` when it is not a whole report, or when a request had no answer."""
    count, status = _COUNT.search(printed), _STATUS.search(printed)
    content, seconds = _CONTENT.search(printed), _SECONDS.search(printed)
    if count is None or status is None or content is None or seconds is None:
        raise ValueError(f"h2load counted no requests: {printed}")
    if int(count[4]) or not int(count[1]):
        raise ValueError(f"h2load had requests without an answer: {printed}")
    return Said(
        done=int(count[1]),
        permitted=int(status[1]),
        refused=int(status[3]),
        content=int(content[1]),
        seconds=float(seconds[1]) * _UNIT[seconds[2]],
    )
