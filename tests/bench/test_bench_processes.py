"""What the benchmark starts is measured, named when it fails, and stopped."""

import sys
import time
from pathlib import Path

import pytest

from bench.process import BenchFailed, Process, start, wait_until

BUSY = "import time\nwhile time.process_time() < 0.3: pass\nprint('spent', flush=True)\ntime.sleep(60)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"


def running(tmp_path: Path, program: str) -> Process:
    return start("worker", [sys.executable, "-c", program], "0", tmp_path)


def has_ended(pid: int) -> bool:
    """A killed orphan is gone, or waits for init to collect it."""
    status = Path(f"/proc/{pid}/status")
    for _ in range(1000):
        try:
            if "zombie" in status.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_cpu_and_memory_of_children_are_counted(tmp_path: Path) -> None:
    worker = running(tmp_path, PARENT)
    try:
        wait_until(worker, lambda: worker.output.read_text() == "spent\n")
        assert len(worker.pids()) == 2
        assert worker.cpu_seconds() >= 0.29
        assert worker.rss_kb() > 1000
    finally:
        worker.stop()


def test_process_that_ignores_a_polite_stop_is_killed(tmp_path: Path) -> None:
    worker = running(
        tmp_path,
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
    )
    wait_until(worker, lambda: worker.output.read_text() == "1\n")
    worker.stop(patience=0.1)
    assert worker.popen.poll() == -9


def test_children_are_stopped_with_their_parent(tmp_path: Path) -> None:
    worker = running(tmp_path, PARENT)
    wait_until(worker, lambda: worker.output.read_text() == "spent\n")
    (_, child) = worker.pids()
    worker.stop()
    assert has_ended(child)


def test_peer_that_does_not_start_names_its_log(tmp_path: Path) -> None:
    worker = running(tmp_path, "raise SystemExit('no such certificate')")
    with pytest.raises(
        BenchFailed, match=r"worker ended with status 1; see .*worker\.err\nno such certificate"
    ):
        wait_until(worker, lambda: False)


def test_peer_that_is_never_ready_is_a_failure(tmp_path: Path) -> None:
    worker = running(tmp_path, "import time; time.sleep(60)")
    try:
        with pytest.raises(BenchFailed, match="was not ready within 0 s"):
            wait_until(worker, lambda: False, seconds=0.1)
    finally:
        worker.stop()


def test_output_can_be_forgotten_while_it_is_written(tmp_path: Path) -> None:
    worker = running(tmp_path, "import time; print('line', flush=True); time.sleep(60)")
    try:
        wait_until(worker, lambda: worker.output.read_text() == "line\n")
        worker.forget_output()
        assert worker.output.read_text() == ""
    finally:
        worker.stop()
