"""^C on a command at work: it ends at once, with the shell's exit code and without a traceback."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.pki import Pki
from tests.support.processes import Child, eventually
from tests.support.sidecar import Sidecar


@pytest.mark.parametrize("library", ["_ssl", "_pydantic_core", "_yaml"])
def test_interrupted_test_leaves_no_traceback(tmp_path: Path, pki: Pki, library: str) -> None:
    """Also while its modules are imported: pydantic would go on without the signal, and a class that is made from text
    would have Python end as if nobody had handled it.
    """
    one = Sidecar(tmp_path, pki, "http://127.0.0.1:9")
    cases = tmp_path / "cases.yaml"
    os.mkfifo(cases)  # nobody writes to it: the command waits until the signal comes
    log = tmp_path / "log"
    # A shell starts what runs in the background with the signal ignored, and children inherit that.
    heeding = ["env", "--default-signal=INT"]
    child = Child([*heeding, sys.executable, "-m", "sidecar", "test", "--config", one.config, cases], log)
    eventually(lambda: library in Path(f"/proc/{child.pid}/maps").read_text(), what="the command at work")
    child.signal(signal.SIGINT)
    assert child.wait() == 130
    assert log.read_text() == ""
