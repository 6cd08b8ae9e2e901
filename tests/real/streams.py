"""Long streams through the sidecar, with what they cost it: bytes, seconds, CPU and peak memory."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.real.clients import Curl
from tests.real.upstreams import Upstream
from tests.support.processes import Child
from tests.support.sidecar import Sidecar

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Transfer:
    """One measured stream. Sizes in bytes, times in seconds; `growth` is of the process's peak resident memory."""

    moved: int
    seconds: float
    cpu_seconds: float
    peak: int
    growth: int


def measured(process: Child, move: Callable[[], int]) -> Transfer:
    """Runs `move`, which returns how many bytes went through, and reads what it cost `process`."""
    before, cpu, started = process.memory().peak, process.cpu_seconds(), time.monotonic()
    moved = move()
    seconds, peak = time.monotonic() - started, process.memory().peak
    return Transfer(moved, seconds, process.cpu_seconds() - cpu, peak, peak - before)


def sparse_file(path: Path, size: int) -> Path:
    """A file of that many zeros which takes no room."""
    with path.open("wb") as file:
        os.truncate(file.fileno(), size)
    return path


def download(sidecar: Sidecar, nginx: Upstream, curl: Curl, token: str, size: int) -> int:
    """A file of `size` from nginx to curl; how many bytes curl counted."""
    path = sparse_file(nginx.folder / "files" / "long.bin", size)
    try:
        answer = curl(
            f"{sidecar.url}/files/long.bin", "--max-time", "280", "--output", os.devnull, token=token
        )
    finally:
        path.unlink()
    assert (answer.code, answer.status) == (0, 200), answer.errors
    return answer.size


def upload(sidecar: Sidecar, curl: Curl, token: str, size: int) -> int:
    """A file of `size` from curl, which asks first (`Expect: 100-continue`), to Node; how many bytes Node counted."""
    path = sparse_file(curl.folder / "long.bin", size)
    try:
        answer = curl(
            f"{sidecar.url}/accounts/1?sink", "--max-time", "280", "--upload-file", str(path), token=token
        )
    finally:
        path.unlink()
    assert (answer.code, answer.status) == (0, 200), answer.errors
    return int(answer.json()["body"]["size"])
