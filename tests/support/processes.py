"""Child processes and free ports: started with a ready check, bounded in time, always stopped by their own pid."""

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Self

READY_WITHIN = 90.0
"""Seconds a child may take until its ready check holds."""
STOP_WITHIN = 60.0
"""Seconds a child may take to end after SIGTERM; then it is killed."""

_given: set[int] = set()
_claims = Path(tempfile.gettempdir()) / f"test-ports-{os.getuid()}"
"""A byte for each port, locked until its end by the process of tests that has taken it: else another one could find the
port free too, before anybody listens there.
"""
_running: list["Child"] = []


def running_children() -> list["Child"]:
    """The children that run now; a failed test shows their logs."""
    return [child for child in _running if child.is_running]


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on and no other process of tests has taken, below the range that the
    kernel gives to outgoing connections.
    """
    for _ in range(200):
        port = random.randrange(12000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                fcntl.lockf(_claims_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                _given.add(port)
                return port
    raise RuntimeError("no free port between 12000 and 32000")


@cache
def _claims_file() -> int:
    """Never closed: the locks end with the process."""
    return os.open(_claims, os.O_RDWR | os.O_CREAT, 0o600)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_socket_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def answers_ok(url: str) -> bool:
    """Whether a GET of `url` answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return False
    except OSError:
        return False


def eventually(holds: Callable[[], bool], within: float = 120.0, what: str = "condition") -> None:
    """Waits until `holds()`; raises `TimeoutError` after `within` seconds."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come about within {within} s")
        time.sleep(0.02)


class ChildFailed(Exception):
    """A child process did not start or did not stop as it should; the message holds its output."""


class Child:
    """One running child process; its output goes to `log`."""

    def __init__(
        self,
        arguments: Sequence[object],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        output: Path | None = None,
    ) -> None:
        """Starts it. `output` takes standard output apart from the log, which then holds standard error only."""
        self.name = Path(str(arguments[0])).name
        self.log = log
        self.output = output or log
        with log.open("ab") as errors, (output or log).open("ab") as out:
            self.process = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        _running.append(self)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_ready(self, is_ready: Callable[[], bool], within: float = READY_WITHIN) -> Self:
        """Returns once `is_ready()`; stops the child and raises `ChildFailed`, with its log, when it never is."""
        deadline = time.monotonic() + within
        while not is_ready():
            if not self.is_running or time.monotonic() > deadline:
                state = "is not ready" if self.is_running else f"exited with {self.process.returncode}"
                self.stop()
                raise ChildFailed(f"{self.name} {state}; its log:\n{self.tail()}")
            time.sleep(0.02)
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, within: float = STOP_WITHIN) -> int:
        """The exit code once it ends by itself; raises `ChildFailed` when it does not."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"{self.name} still runs after {within} s; its log:\n{self.tail()}") from None

    def stop(self, within: float = STOP_WITHIN) -> int:
        """SIGTERM, then, past `within` seconds, SIGKILL to it and its children. The exit code."""
        if self.is_running:
            self.signal(signal.SIGTERM)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            return self.process.wait()
        finally:
            with contextlib.suppress(ValueError):
                _running.remove(self)

    def tail(self, characters: int = 4000) -> str:
        """The end of its log, and of its output if that went elsewhere."""
        files = dict.fromkeys([self.log, self.output])
        return "\n".join(file.read_text(errors="replace")[-characters:] for file in files)

    def memory(self) -> "Memory":
        """Resident memory of this process now and at its peak."""
        return Memory.of(self.pid)

    def cpu_seconds(self) -> float:
        """User and system time of this process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Memory:
    """Resident memory in bytes, from /proc."""

    def __init__(self, now: int, peak: int) -> None:
        self.now = now
        self.peak = peak

    @classmethod
    def of(cls, pid: int) -> Self:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        values = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
        return cls(int(values["VmRSS"][0]) * 1024, int(values["VmHWM"][0]) * 1024)


@contextlib.contextmanager
def running(
    arguments: Sequence[object],
    log: Path,
    is_ready: Callable[[], bool],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    within: float = READY_WITHIN,
) -> Iterator[Child]:
    """A child that is ready inside the block and stopped after it."""
    child = Child(arguments, log, environment=environment, directory=directory)
    try:
        yield child.wait_ready(is_ready, within)
    finally:
        child.stop()
