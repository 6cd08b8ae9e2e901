"""Where the sidecar's time goes under a load: py-spy (Python and native frames), and perf by library if it is there.

`python -m bench.profile [load] [seconds]`, by default cached-es256 and 5. The stacks stay in
build/bench/profile.txt (py-spy's collapsed form, which flame graph tools read).
"""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.hotspot import Hotspots, hotspots
from bench.loads import LOADS, Window, es256_token
from bench.peers import PEERS
from bench.process import BenchFailed
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
            if LOADS[load].opaque:
                world.start_issuer()
            running = world.start(PEERS["sidecar"], opaque=LOADS[load].opaque)
            if not LOADS[load].opaque:
                world.check(running, es256_token(world.material))
            drive = LOADS[load].drive(world.material, Window(4 * seconds, 0.5), 1)
            _under_load(
                world, running, drive, lambda: _spy_and_perf(running.process.popen.pid, seconds, build)
            )
    except BenchFailed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    _print(hotspots((build / "profile.txt").read_text().splitlines()))
    return 0


def _under_load(world: World, running: Running, drive: Drive, watch: Callable[[], None]) -> None:
    """Watches while the load runs in a thread, and lets the load come to its own end."""
    failures: list[BaseException] = []

    def client() -> None:
        try:
            sample = world.drive(running, drive)
            print(f"{sample.cpu_us_per_request:.1f} µs/request while being watched")
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
        "--native",
        "--nonblocking",
        "--duration",
        str(int(seconds)),
    ]
    _run([spy, "record", "--pid", str(pid), "--output", str(build / "profile.txt"), *how])
    if shutil.which("perf"):
        data = str(build / "perf.data")
        _run(
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
        by_library = _run(["perf", "report", "--stdio", "--sort", "dso", "--input", data])
        print("\nCPU by library (perf)")
        print("\n".join(line for line in by_library.splitlines() if "%" in line and not line.startswith("#")))


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchFailed(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def _print(found: Hotspots) -> None:
    print(f"\n{found.samples} samples")
    _table("own time by function", found.own)
    _table("time within function", found.within)
    _table("own time by file", found.files)


def _table(title: str, shares: Mapping[str, float]) -> None:
    print(f"\n{title}")
    for name, share in list(shares.items())[:_TOP]:
        print(f"{share:6.1f} %  {name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
