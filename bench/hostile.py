"""What a hostile client leaves to the others: `make hostile`.

The sidecar has one core; its clients, hostile and honest, and the API have the other. An honest client asks one request
after another on one connection. Its share is what it gets, divided by the smaller of what it asks for when alone and of
what an unloaded sidecar can serve, divided by the number of clients. Beside it: the 99th percentile of `/livez`, lines
that the log lost, and the memory of all processes of the sidecar.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.hostile_client import ATTACKS, Wire
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import free_port, is_listening
from tests.support.sidecar import Sidecar, policy

REQUEST = b"GET /public/a HTTP/1.1\r\nHost: api\r\n\r\n"
RULES: list[dict[str, object]] = [
    {"name": "public", "match": {"path": "/public/**"}, "public": True},
    {"name": "rest", "match": {"path": "/**"}},
]
WORKERS = (1, 2)
OTHERS = 8
"""Honest clients whose requests together are what the sidecar can serve."""
SHARE, LIVEZ, LOST = 0.80, 0.100, 0


def served(port: int, seconds: float) -> int:
    """Requests that one honest client had answered."""
    wire, count, until = Wire(port), 0, time.monotonic() + seconds
    wire.socket.settimeout(seconds + 5)
    while time.monotonic() < until:
        wire.socket.sendall(wire.seal(REQUEST))
        if not wire.socket.recv(65536):
            break
        count += 1
    wire.socket.close()
    return count


class Livez(threading.Thread):
    """Asks `/livez` all the time."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url, self._goes_on, self.seconds = url, True, list[float]()

    def run(self) -> None:
        while self._goes_on:
            begun = time.monotonic()
            with urllib.request.urlopen(self._url, timeout=30):
                self.seconds.append(time.monotonic() - begun)
            time.sleep(0.02)

    def p99(self) -> float:
        """Of what was asked until now."""
        self._goes_on = False
        self.join()
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


def memory(pid: int) -> int:
    """Resident bytes of a process and its children."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own * 1024 + sum(memory(int(child)) for child in children)


def lost_lines(sidecar: Sidecar) -> int:
    """As `/metrics` says."""
    with urllib.request.urlopen(f"{sidecar.health_url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        int(float(line.split()[-1]))
        for line in lines
        if "log_lines_dropped_total" in line.split("{")[0].split()[0]
    )


@contextmanager
def running(*arguments: str) -> Iterator[None]:
    """A module of ours as a process on the clients' core."""
    child = subprocess.Popen([sys.executable, "-m", *arguments])
    try:
        os.sched_setaffinity(child.pid, {_cores()[1]})
        yield
    finally:
        child.kill()
        child.wait()


def _cores() -> tuple[int, int]:
    first, *rest = sorted(os.sched_getaffinity(0))
    return first, rest[0] if rest else first


def _pin(pid: int) -> None:
    os.sched_setaffinity(pid, {_cores()[0]})
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        _pin(int(child))


def measure(workers: int, seconds: float, chosen: list[str]) -> list[dict[str, object]]:
    """A row for each attack."""
    rows: list[dict[str, object]] = []
    port = free_port()
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder, running("bench.hostile_api", str(port)):
            while not is_listening(port):
                time.sleep(0.05)
            service = {"workers": workers, "logging": {"format": "json", "access": "all"}}
            document = policy(RULES)
            sidecar = Sidecar(
                Path(folder),
                Pki.create(),
                f"http://127.0.0.1:{port}",
                policy_document=document,
                keys=[SigningKey.create("ES256")],
                service=service,
            )
            with sidecar:
                _pin(sidecar.process.pid)
                rows.append({"attack": name, "workers": workers, **_under(name, sidecar, seconds)})
                print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def _under(name: str, sidecar: Sidecar, seconds: float) -> dict[str, object]:
    demand = served(sidecar.port, seconds)
    with ThreadPoolExecutor(OTHERS) as pool:
        capacity = sum(pool.map(lambda _: served(sidecar.port, seconds), range(OTHERS)))
    fair = min(demand, capacity / 2)
    with running("bench.hostile_client", name, str(sidecar.port)):
        time.sleep(0.5)
        livez = Livez(f"{sidecar.health_url}/livez")
        livez.start()
        got = served(sidecar.port, seconds)
        held = memory(sidecar.process.pid)
        p99 = livez.p99()
    lost = lost_lines(sidecar)
    share = got / fair
    return {
        "share": round(share, 2),
        "livez_p99_ms": round(p99 * 1000, 1),
        "lost": lost,
        "memory_mib": held >> 20,
        "good": share >= SHARE and p99 <= LIVEZ and lost <= LOST,
    }


def main(arguments: list[str]) -> int:
    """`[SECONDS [ATTACK…]]`; 1 when one of the attacks takes more than its share."""
    seconds = float(arguments[0]) if arguments else 3.0
    chosen = arguments[1:] or list(ATTACKS)
    os.sched_setaffinity(0, {_cores()[1]})
    rows = [row for workers in WORKERS for row in measure(workers, seconds, chosen)]
    out = Path("build/hostile.json")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(rows, indent=1))
    return 0 if all(row["good"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
