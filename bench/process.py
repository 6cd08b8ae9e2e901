"""Processes the benchmark starts: pinned, logged, measured through /proc, and stopped by pid."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class BenchFailed(RuntimeError):
    """The run cannot go on; the message says why and which log to read."""


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command writes when it has ended well. Raises `BenchFailed` with the end of its errors."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise BenchFailed(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Process:
    """A running program of ours, pinned to a core, with its output in two files."""

    name: str
    popen: subprocess.Popen[bytes]
    output: Path
    errors: Path

    def pids(self) -> list[int]:
        """The process and all its descendants (nginx and Apache work in children)."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                fields = _stat(int(entry.name))
                if fields:
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
        found = [self.popen.pid]
        for pid in found:
            found.extend(children.get(pid, []))
        return found

    def cpu_seconds(self) -> float:
        """User and system time used so far by all processes (/proc/PID/stat, proc(5) fields 14 and 15)."""
        stats = [_stat(pid) for pid in self.pids()]
        return sum(int(s[11]) + int(s[12]) for s in stats if s) / _TICKS

    def rss_kb(self) -> int:
        """Resident memory: VmRSS of one process, the sum of proportional shares where several share pages."""
        pids = self.pids()
        if len(pids) == 1:
            return _kilobytes(Path(f"/proc/{pids[0]}/status"), "VmRSS:")
        return sum(_kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in pids)

    def peak_kb(self) -> int:
        """The largest resident size so far, summed over the processes (VmHWM; shared pages count in each)."""
        return sum(_kilobytes(Path(f"/proc/{pid}/status"), "VmHWM:") for pid in self.pids())

    def require_alive(self) -> None:
        """Raises `BenchFailed`, with the log's last lines, when the process has ended."""
        if self.popen.poll() is not None:
            raise self.failure(f"ended with status {self.popen.returncode}")

    def failure(self, what: str) -> BenchFailed:
        """An error that names the log and shows its end."""
        tail = "\n".join(self.errors.read_text(errors="replace").splitlines()[-12:])
        return BenchFailed(f"{self.name} {what}; see {self.errors}\n{tail}")

    def forget_output(self) -> None:
        """Empties the access log, which is written for the benchmark's honesty and read by nobody."""
        os.truncate(self.output, 0)

    def stop(self, patience: float = 5) -> None:
        """SIGTERM to the process, seconds of patience, then SIGKILL to what is left of its tree."""
        if self.popen.poll() is not None:
            return
        family = {pid: _started(pid) for pid in self.pids()}
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        for pid, started in family.items():
            if started is not None and _started(pid) == started:  # a child that its parent left behind
                os.kill(pid, signal.SIGKILL)


def start(
    name: str, command: Sequence[str], cores: str, logs: Path, environment: Mapping[str, str] | None = None
) -> Process:
    """Starts `command` on cores named as in taskset(1).

    It gets a session of its own, so that Ctrl-C reaches only the benchmark, which then stops it.
    """
    logs.mkdir(parents=True, exist_ok=True)
    output, errors = logs / f"{name}.out", logs / f"{name}.err"
    with output.open("ab", buffering=0) as out, errors.open("wb") as err:
        out.truncate(0)
        popen = subprocess.Popen(
            ["taskset", "-c", cores, *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    return Process(name, popen, output, errors)


def wait_until(process: Process, condition: Callable[[], bool], seconds: float = 30) -> float:
    """Asks `condition` every 2 ms until it holds; the seconds that took. Raises `BenchFailed`."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        process.require_alive()
        if condition():
            return time.monotonic() - begun
        time.sleep(0.002)
    raise process.failure(f"was not ready within {seconds:.0f} s")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command's name: state, parent, …; `None` when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _started(pid: int) -> str | None:
    """When a process began, in ticks since boot: with the pid it names a process for good."""
    fields = _stat(pid)
    return fields[19] if fields else None


def _kilobytes(path: Path, label: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(label):
            return int(line.split()[1])
    raise BenchFailed(f"no {label} in {path}")
