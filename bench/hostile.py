"""What a hostile client leaves to the others: `make hostile`.

The sidecar has one core; its clients, hostile and honest, and the API have the other. The honest client asks `DEMAND`
requests a second, one after another on one connection; what it is late with it makes up for. Its share is what it gets,
divided by the smaller of what it gets alone and of what an unloaded sidecar can serve divided by the number of clients.
Each round measures all three, one after the other; the share is the median of the rounds' own. The hostile client has
the lowest priority on its core, and the rest of it: what the others lose they lose by the sidecar. Beside it: how long
an honest request takes, how busy the attack keeps the sidecar's core, the 99th percentile of `/livez`, lines that the
log lost, and the memory of all processes of the sidecar.

A machine that does something else spoils it: an idle sidecar is served at once whatever else runs, a busy one has to
share its core. `REALTIME=1` (root) puts everything here before the rest of the machine.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import hostile_client, hostile_http2
from bench.hostile_client import Wire
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import free_port, is_listening
from tests.support.sidecar import Sidecar, listener, policy

REQUEST = b"GET /public/a HTTP/1.1\r\nHost: api\r\n\r\n"
RULES: list[dict[str, object]] = [
    {"name": "public", "match": {"path": "/public/**"}, "public": True},
    {"name": "rest", "match": {"path": "/**"}},
]
DEMAND = 1500
"""Requests a second: a part of the core that it shares, so that the hostile client has most of that."""
OTHERS = 8
"""Honest clients, a process each, whose requests together are what the sidecar can serve."""
LOOK = 1.0
"""Seconds, at most, for what is measured without an attack."""
REALTIME = os.environ.get("REALTIME") == "1"
SERVES, ASKS, ATTACKS_AT = 2, 3, 1
"""Real-time priorities (sched(7)): the sidecar's on its core; on the other the honest clients and the API, then the
hostile client.
"""
_cores = sorted(os.sched_getaffinity(0))
SIDECARS_CORE, CLIENTS_CORE = _cores[0], _cores[-1]
"""Found before `main` binds this process, and with it its children, to one of them."""
SHARE, LIVEZ, LOST, MEMORY = 0.80, 0.100, 0, 256 << 20
"""The goals; the last is the chart's limit."""


@dataclass(frozen=True, slots=True)
class Group:
    """Attacks that are measured in one way."""

    attacks: Mapping[str, Callable[[int], None]]
    seconds: float
    """How long each attack is looked at, of all rounds together."""
    rounds: int
    workers: tuple[int, ...]
    protocols: tuple[str, ...]


GROUPS = {
    "h1": Group(hostile_client.ATTACKS, 5.0, 5, (1, 2), ("http/1.1",)),
    "h2": Group(hostile_http2.ATTACKS, 20.0, 3, (1,), ("h2", "http/1.1")),
}


def served(port: int, seconds: float, demand: float = 0) -> list[float]:
    """How long each request took that one honest client had answered. `demand`: how many it asks for a second; 0: all
    it can.
    """
    wire, took, begun = Wire(port), list[float](), time.monotonic()
    wire.socket.settimeout(seconds + 5)
    while (asked := time.monotonic()) < begun + seconds:
        if demand and begun + len(took) / demand > asked:
            time.sleep(begun + len(took) / demand - asked)
            asked = time.monotonic()
        wire.socket.sendall(wire.seal(REQUEST))
        if not wire.socket.recv(65536):
            break
        took.append(time.monotonic() - asked)
    wire.socket.close()
    return took


def p99(seconds: list[float]) -> float:
    """The 99th percentile."""
    return sorted(seconds)[int(len(seconds) * 0.99)]


class Livez(threading.Thread):
    """Asks `/livez` all the time, attack or not; what is told is of the attacks."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url, self._goes_on, self.seconds = url, True, list[float]()
        self.counts = False
        """Whether a hostile client is at work."""

    def run(self) -> None:
        while self._goes_on:
            begun = time.monotonic()
            with urllib.request.urlopen(self._url, timeout=30):
                if self.counts:
                    self.seconds.append(time.monotonic() - begun)
            time.sleep(0.02)

    def end(self) -> None:
        """Ask no more."""
        self._goes_on = False
        self.join()


def memory(pid: int) -> int:
    """Resident bytes of a process and its children."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own * 1024 + sum(memory(int(child)) for child in children)


def spent(pid: int) -> float:
    """Seconds of CPU that a process and its children took (proc_pid_stat(5): user and system)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(spent(int(child)) for child in children)


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
def running(*arguments: str, priority: int = ASKS) -> Iterator[None]:
    """A module of ours as a process on the clients' core."""
    child = subprocess.Popen([sys.executable, "-m", *arguments])
    try:
        os.sched_setaffinity(child.pid, {CLIENTS_CORE})
        _schedule(child.pid, priority)
        yield
    finally:
        _let_end(child.pid)
        child.kill()
        child.wait()


def _schedule(pid: int, priority: int) -> None:
    if REALTIME:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(priority))
    elif priority == ATTACKS_AT:
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def _let_end(pid: int) -> None:
    """What has the lowest priority would not even end while others are busy."""
    with suppress(OSError):
        for thread in (int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()):
            if REALTIME:
                _schedule(thread, ASKS)
            else:
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _place(pid: int) -> None:
    """The sidecar on its core. Its loops are what is measured: a supervisor, and threads that sleep, go first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for thread in (int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()):
        os.sched_setaffinity(thread, {SIDECARS_CORE})
        _schedule(thread, SERVES if thread == pid and not children else ASKS)
    for child in children:
        _place(int(child))


def measure(group: Group, workers: int, seconds: float, chosen: list[str]) -> list[dict[str, object]]:
    """A row for each attack."""
    rows: list[dict[str, object]] = []
    port = free_port()
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder, running("bench.hostile_api", str(port)):
            while not is_listening(port):
                time.sleep(0.05)
            sidecar = Sidecar(
                Path(folder),
                Pki.create(),
                f"http://127.0.0.1:{port}",
                policy_document=policy(RULES),
                keys=[SigningKey.create("ES256")],
            )
            sidecar.write_service(
                sidecar.service_document(f"http://127.0.0.1:{port}")
                | {
                    "listeners": [listener(sidecar.port) | {"protocols": list(group.protocols)}],
                    "workers": workers,
                }
            )
            with sidecar:
                _place(sidecar.process.pid)
                rows.append(
                    {"attack": name, "workers": workers, **_under(name, sidecar, seconds, group.rounds)}
                )
                print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


@dataclass(frozen=True, slots=True)
class Round:
    """One look at what an attack leaves."""

    share: float
    busy: float
    """Part of its core that the sidecar used."""
    memory: int
    took: list[float]


def _under(name: str, sidecar: Sidecar, seconds: float, rounds: int) -> dict[str, object]:
    livez, each = Livez(f"{sidecar.health_url}/livez"), seconds / rounds
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(OTHERS, context) as pool:
        list(pool.map(served, [sidecar.port] * OTHERS, [0.1] * OTHERS))  # all of them are there
        livez.start()
        looks = [_round(name, sidecar, each, pool, livez) for _ in range(rounds)]
        livez.end()
    lost, share, alive = lost_lines(sidecar), median(one.share for one in looks), p99(livez.seconds)
    held = max(one.memory for one in looks)
    return {
        "share": round(share, 2),
        "least": round(min(one.share for one in looks), 2),
        "busy": round(median(one.busy for one in looks), 2),
        "honest_p99_ms": round(median(p99(one.took) for one in looks) * 1000, 1),
        "livez_p99_ms": round(alive * 1000, 1),
        "lost": lost,
        "memory_mib": held >> 20,
        "good": share >= SHARE and alive <= LIVEZ and lost <= LOST and held <= MEMORY,
    }


def _round(name: str, sidecar: Sidecar, seconds: float, pool: ProcessPoolExecutor, livez: Livez) -> Round:
    pid, port, look = sidecar.process.pid, sidecar.port, min(seconds, LOOK)
    _place(pid)  # again: some threads begin with the first request
    if os.sched_getaffinity(pid) & os.sched_getaffinity(0):
        raise RuntimeError("the sidecar stands on its clients' core")
    alone = len(pool.submit(served, port, look, DEMAND).result()) / look
    capacity = sum(map(len, pool.map(served, [port] * OTHERS, [look] * OTHERS))) / look
    with running("bench.hostile_one", name, str(port), priority=ATTACKS_AT):
        time.sleep(0.5)
        livez.counts, before, begun = True, spent(pid), time.monotonic()
        got = pool.submit(served, port, seconds, DEMAND).result()
        livez.counts, busy = False, (spent(pid) - before) / (time.monotonic() - begun)
        return Round(len(got) / seconds / min(alone, capacity / 2), busy, memory(pid), got)


def main(arguments: list[str]) -> int:
    """`SECONDS [GROUP | ATTACK…]`, 0 seconds: each group's own.

    Returns 1 when one of the attacks takes more than its share, 2 without two cores.
    """
    seconds = float(arguments[0]) if arguments else 0.0
    wanted = arguments[1:] or list(GROUPS)
    if SIDECARS_CORE == CLIENTS_CORE:
        print("hostile: one core; the sidecar and its clients need one each", file=sys.stderr)
        return 2
    os.sched_setaffinity(0, {CLIENTS_CORE})
    _schedule(0, ASKS)
    rows = [
        row
        for name, group in GROUPS.items()
        for workers in group.workers
        for row in measure(
            group,
            workers,
            seconds or group.seconds,
            [attack for attack in group.attacks if name in wanted or attack in wanted],
        )
    ]
    out = Path("build/hostile.json")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(rows, indent=1))
    return 0 if rows and all(row["good"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
