"""Self-observation: how late the event loop is, how much memory is in use, and the watchdog's sign for systemd."""

import asyncio
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import sidecar
from sidecar.process.host.build import build
from sidecar.process.host.hardening import resident_bytes
from sidecar.telemetry.metrics import Metrics, Sample

BEAT = 0.25
"""Seconds between two looks."""


class Pulse:
    """Beats on the event loop; what it does must cost next to nothing."""

    def __init__(self, metrics: Metrics) -> None:
        self._lag = metrics.histogram("sidecar_event_loop_lag_seconds")
        self._beaten = time.monotonic()
        self._beats: list[tuple[float, float, Callable[[], object]]] = []

    def every(self, seconds: float, work: Callable[[], object]) -> None:
        """Run `work` every so many seconds, on the loop; it must not block."""
        self._beats.append((seconds, time.monotonic() + seconds, work))

    @property
    def age(self) -> float:
        """Seconds since the event loop ran the last beat."""
        return time.monotonic() - self._beaten

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            due = time.monotonic() + BEAT
            await asyncio.sleep(BEAT)
            now = self._beaten = time.monotonic()
            self._lag.observe(max(0.0, now - due))
            for index, (seconds, at, work) in enumerate(self._beats):
                if now >= at:
                    self._beats[index] = (seconds, now + seconds, work)
                    work()

    def samples(self) -> Iterator[Sample]:
        """What the kernel says of this process, and what it runs."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield Sample("process_cpu_seconds_total", (), usage.ru_utime + usage.ru_stime)
        yield Sample("process_resident_memory_bytes", (), resident_bytes())
        yield Sample("process_open_fds", (), len(os.listdir("/proc/self/fd")))  # noqa: PTH208 — names, no paths
        yield Sample("process_max_fds", (), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        yield Sample("process_start_time_seconds", (), _STARTED)
        runs = (sidecar.__version__, platform.python_version(), _openssl(), build())
        yield Sample("sidecar_build_info", runs, 1)


def _started() -> float:
    """When the kernel began this process (proc(5), field 22 of stat)."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return time.time()
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


_STARTED = _started()


def _openssl() -> str:
    from OpenSSL import SSL  # noqa: PLC0415 — only for the label

    return SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii", "replace").split(" (", maxsplit=1)[0]
