"""Where the sidecar's time goes under a load: py-spy by Python function, and perf by library if it is there.

`python -m bench.profile [load] [seconds]`, by default cached-es256 and 5. The stacks stay in
build/bench/profile.txt (py-spy's collapsed form, which flame graph tools read).
"""

import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.hotspot import Hotspots, hotspots
from bench.loads import LOADS, Window
from bench.peers import PEERS
from bench.process import BenchFailed, run
from bench.rounds import prepare, started
from bench.world import Drive, Running, World

_TOP = 30
_RATE = 500  # samples a second


def main(arguments: Sequence[str]) -> int:
    """Prints shares; 1 when the sidecar or the profiler failed."""
    load = arguments[0] if arguments else "cached-es256"
    seconds = float(arguments[1]) if len(arguments) > 1 else 5.0
    build = Path("build/bench").resolve()
    try:
        with World(build) as world:
            running = started(world, LOADS[load], PEERS["sidecar"])
            prepare(world, LOADS[load], running)
            quiet = LOADS[load].drive(world.material, Window(seconds, 0.5, 0), 8)
            unwatched = world.drive(running, quiet).cpu_us_per_request
            print(f"{load}: {unwatched:.1f} µs/request")
            drive = LOADS[load].drive(world.material, Window(3 * seconds, 0.5, 1), 8)
            _under_load(
                world, running, drive, lambda: _spy_and_perf(running.process.popen.pid, seconds, build)
            )
    except BenchFailed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    _print(hotspots((build / "profile.txt").read_text().splitlines()), unwatched)
    return 0


def _under_load(world: World, running: Running, drive: Drive, watch: Callable[[], None]) -> None:
    """Watches while the load runs in a thread, and lets the load come to its own end."""
    failures: list[BaseException] = []

    def client() -> None:
        try:
            world.drive(running, drive)
        except BenchFailed as failed:
            failures.append(failed)

    thread = threading.Thread(target=client)
    thread.start()
    thread.join(1)
    try:
        watch()
    finally:
        thread.join()
    if failures:
        raise failures[0]


def _spy_and_perf(pid: int, seconds: float, build: Path) -> None:
    spy = str(Path(sys.executable).with_name("py-spy"))
    how = [
        "--format",
        "raw",
        "--rate",
        str(_RATE),
        "--nonblocking",
        "--duration",
        str(int(seconds)),
    ]
    run([spy, "record", "--pid", str(pid), "--output", str(build / "profile.txt"), *how])
    if shutil.which("perf"):
        data = str(build / "perf.data")
        run(
            [
                "perf",
                "record",
                "--quiet",
                "--output",
                data,
                "--pid",
                str(pid),
                "--",
                "sleep",
                str(int(seconds)),
            ]
        )
        by_library = run(["perf", "report", "--stdio", "--sort", "dso", "--input", data])
        print("\nCPU by library (perf)")
        print("\n".join(line for line in by_library.splitlines() if "%" in line and not line.startswith("#")))


def _print(found: Hotspots, microseconds: float) -> None:
    """Shares, and what they come to of the request's CPU as it was measured without being watched."""
    print(f"\n{found.samples} samples")
    _table("own time by function", found.own, microseconds)
    _table("time within function", found.within, microseconds)
    _table("own time by file", found.files, microseconds)


def _table(title: str, shares: Mapping[str, float], microseconds: float) -> None:
    print(f"\n{title}")
    for name, share in list(shares.items())[:_TOP]:
        print(f"{share:6.1f} %  {share * microseconds / 100:6.1f} µs  {name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
