"""Children start ready, show their log when they fail, and always end."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import (
    Child,
    ChildFailed,
    answers_ok,
    eventually,
    free_port,
    is_listening,
    running,
    running_children,
)


def test_child_is_ready_inside_the_block_and_gone_after_it(tmp_path: Path) -> None:
    port = free_port()
    server = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with running(
        server, tmp_path / "log", lambda: answers_ok(f"http://127.0.0.1:{port}/"), directory=tmp_path
    ) as child:
        assert child in running_children()
        assert child.memory().peak >= child.memory().now > 0
        assert child.cpu_seconds() > 0
    assert not is_listening(port)
    assert child not in running_children()


def test_child_that_dies_early_shows_its_log(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "raise SystemExit('no such luck')"]
    with pytest.raises(ChildFailed, match=r"exited with 1(.|\n)*no such luck"):
        Child(program, tmp_path / "log").wait_ready(lambda: False)


def test_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    program = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    child = Child([sys.executable, "-c", program], tmp_path / "log")
    eventually(lambda: "deaf" in child.tail())
    assert child.stop(within=0.2) == -signal.SIGKILL


def test_free_ports_are_all_different() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50


def test_port_that_one_process_of_tests_has_taken_is_free_for_no_other() -> None:
    """Also while nobody listens there yet: the other one chooses by the same dice."""
    before = random.getstate()
    random.seed(7)
    ours = [free_port() for _ in range(5)]
    random.setstate(before)
    program = (
        "import random; random.seed(7); from tests.support.processes import free_port; "
        "print(*(free_port() for _ in range(5)))"
    )
    command = [sys.executable, "-c", program]
    root = Path(__file__).parents[2]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout
    assert not set(ours) & {int(word) for word in said.split()}
