"""Signals that come before the sidecar serves: none kills it unasked, and none leaves a traceback."""

import os
import signal
from pathlib import Path

import pytest

from tests.process.world import events, fast, get
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import Child, answers_ok, eventually, is_listening
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar


def holds(child: Child, number: signal.Signals) -> bool:
    """Whether the process has a handler for it (proc(5), `SigCgt`)."""
    status = Path(f"/proc/{child.pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def is_stopped(child: Child) -> bool:
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def told_in_the_start(one: Sidecar, number: signal.Signals) -> Child:
    """Its process, which got the signal when it could handle it and had not opened its port.

    It is stopped meanwhile; if it was stopped too late, because this process was kept waiting, there is another start.
    """
    while True:
        child = one.child = one.spawn()
        eventually(lambda child=child: holds(child, signal.SIGHUP))  # type: ignore[misc]
        child.signal(signal.SIGSTOP)
        eventually(lambda child=child: is_stopped(child))  # type: ignore[misc]
        if in_time := not is_listening(one.port):
            child.signal(number)
        child.signal(signal.SIGCONT)
        if in_time:
            return child
        child.stop()
        one.log.unlink()
        one.output.unlink()


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_during_the_start_is_a_reload_once_it_serves(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, workers: int
) -> None:
    with Recorder() as upstream:
        service = fast({"workers": workers, "process": {"watch_files": False}})
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=service)
        told_in_the_start(one, signal.SIGHUP)
        one.process.wait_ready(lambda: answers_ok(f"{one.health_url}/readyz"))
        eventually(lambda: bool(events(one, "configuration reloaded")))
        assert [line["trigger"] for line in events(one, "configuration reloaded")] == ["SIGHUP"]
        assert one.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_told_to_end_during_the_start_it_ends_well_and_in_silence(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, number: signal.Signals, workers: int
) -> None:
    one = Sidecar(tmp_path, pki, "http://127.0.0.1:9", keys=[signing_key], service={"workers": workers})
    assert told_in_the_start(one, number).wait() == 0
    assert one.log.read_text() == ""
    assert one.output.read_text() == ""
    assert not is_listening(one.port)


def test_told_to_end_while_workers_start_it_does_not_wait_for_them(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    one = Sidecar(tmp_path, pki, "http://127.0.0.1:9", keys=[signing_key], service={"workers": 2})
    child = one.spawn()
    eventually(lambda: len(children(child.pid)) >= 2)
    child.signal(signal.SIGTERM)
    assert child.wait() == 0
    assert one.log.read_text() == ""
    assert "Traceback" not in one.output.read_text()


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_start_that_fails_does_not_say_that_it_stopped(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    one = Sidecar(tmp_path, pki, "http://127.0.0.1:9", keys=[signing_key])
    document = one.service_document("http://127.0.0.1:9")
    document["listeners"][0]["address"] = f"192.0.2.1:{one.port}"
    one.write_service(document)
    assert one.spawn().wait() == 1
    assert events(one, "stopped") == []
    assert len(one.log.read_text().splitlines()) == 1


def test_signals_of_the_terminal_go_to_the_supervisor_alone(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    """^C reaches every process of the group in the foreground; workers drain because the supervisor says so."""
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=fast({"workers": 2})).start()
        groups = {os.getpgid(int(pid)) for pid in children(one.process.pid)}
        assert os.getpgid(one.process.pid) not in groups
        assert get(f"{one.health_url}/livez")[0] == 200
        one.process.signal(signal.SIGINT)
        assert one.process.wait() == 0
    assert "Traceback" not in one.log.read_text() + one.output.read_text()
