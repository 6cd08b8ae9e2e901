"""What the process gives up, asks for and tells its service manager."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sidecar.process.host.hardening import (
    Account,
    HardeningError,
    account,
    drop_root,
    raise_file_limit,
    resident_bytes,
)
from sidecar.process.host.notify import Notifier
from tests.process.world import events, fast, figures, sidecar
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import Child, eventually
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar

AS_ROOT = os.geteuid() == 0


@pytest.mark.parametrize(
    ("name", "uid", "gid"),
    [("1000", 1000, 1000), ("1000:2000", 1000, 2000), ("root", 0, 0), ("root:1", 0, 1)],
)
def test_account_is_a_name_or_numbers(name: str, uid: int, gid: int) -> None:
    assert account(name) == Account(name, uid, gid)


@pytest.mark.parametrize("name", ["nobody-of-this-name", "0:no-group-of-this-name"])
def test_account_that_does_not_exist_is_an_error(name: str) -> None:
    with pytest.raises(HardeningError, match="there is no"):
        account(name)


def in_a_child(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_root_is_given_up_for_good_or_there_was_nothing_to_give_up() -> None:
    said = in_a_child(
        "import os\n"
        "from sidecar.process.host.hardening import account, drop_root\n"
        "print(drop_root(account('65534:65534')), os.getresuid(), os.getresgid(), os.getgroups())\n"
    )
    if AS_ROOT:
        assert said == "True (65534, 65534, 65534) (65534, 65534, 65534) []"
    else:
        assert said.startswith("False")
    assert drop_root(Account("root", 0, 0)) is False


def test_file_limit_is_raised_to_the_hard_one_or_what_is_asked_for() -> None:
    code = (
        "import resource\n"
        "from sidecar.process.host.hardening import raise_file_limit\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, min(hard, 4096)))\n"
        "print(raise_file_limit(128), raise_file_limit(), raise_file_limit(1 << 40))\n"
    )
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096)
    assert in_a_child(code) == f"128 {hard} {hard}"
    assert raise_file_limit(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) > 0


def test_no_core_is_dumped() -> None:
    code = (
        "import resource\n"
        "from sidecar.process.host.hardening import forbid_core_dumps\n"
        "forbid_core_dumps()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert in_a_child(code) == "(0, 0)"


def test_resident_memory_is_known() -> None:
    assert resident_bytes() > 10 << 20


def test_closed_standard_descriptors_are_occupied() -> None:
    code = (
        "import os\n"
        "os.close(0); os.close(1)\n"
        "from sidecar.process.host.hardening import occupy_standard_descriptors\n"
        "closed = occupy_standard_descriptors()\n"
        "opened = os.open('/dev/null', os.O_RDONLY)\n"
        "os.write(2, repr((sorted(closed), opened > 2)).encode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == "([0, 1], True)"


def test_service_manager_is_told_and_the_watchdog_fed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"})
        assert notifier.watchdog_interval == 1.5
        notifier.tell("READY=1", "STATUS=serving")
        assert manager.recv(1000) == b"READY=1\nSTATUS=serving"


def test_without_a_service_manager_nothing_is_told(tmp_path: Path) -> None:
    Notifier({}).tell("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).tell("READY=1")
    assert Notifier({}).watchdog_interval == 0
    assert Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).watchdog_interval == 0
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog_interval == 0


def test_process_tells_systemd_that_it_is_ready_alive_and_stopping(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(90)
        told: list[bytes] = []

        def listen() -> None:
            """As it comes: the kernel keeps ten datagrams, and what is told past them is lost."""
            while not told or b"STOPPING=1" not in told[-1]:
                told.append(manager.recv(1000))

        listening = threading.Thread(target=listen)
        listening.start()
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "600000")
        with sidecar(tmp_path, pki, signing_key):
            eventually(lambda: len(told) > 2, what="signs of life")
        listening.join(90)
        assert told[0].startswith(b"READY=1")
        assert set(told[1:-1]) == {b"WATCHDOG=1"}
        assert b"STOPPING=1" in told[-1]


def test_world_readable_private_key_is_refused_at_start(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    one = Sidecar(tmp_path, pki, "http://127.0.0.1:9", keys=[signing_key])
    (tmp_path / "tls" / "tls.key").chmod(0o644)
    assert one.spawn().wait() == 1
    assert "readable by everyone" in one.log.read_text()


def test_embarrassing_name_lets_it_through_and_is_logged(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key])
        (tmp_path / "tls" / "tls.key").chmod(0o644)
        document = one.service_document(upstream.url)
        document["listeners"][0]["tls"]["insecure_private_key_readable_by_everyone"] = True
        one.write_service(document)
        with one:
            eventually(lambda: bool(events(one, "dangerous setting")))
            assert (
                "insecure_private_key_readable_by_everyone" in events(one, "dangerous setting")[0]["setting"]
            )


@pytest.mark.parametrize("workers", [1, 2])
def test_started_as_root_it_serves_as_the_account_it_was_told(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, workers: int
) -> None:
    service = {"process": {"run_as": "65534:65534", "watch_files": False}, "workers": workers}
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=service)
        with one:
            with one.connect() as wire:
                assert wire.request("GET", "/public/x").status == 200
            serving = [one.process.pid, *_children(one.process.pid)]
            assert len(serving) == (1 if workers == 1 else 3)
            expected = 65534 if AS_ROOT else os.geteuid()
            assert {_uid(pid) for pid in serving} == {expected}


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _uid(pid: int) -> int:
    (line,) = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:")
    ]
    return int(line.split()[2])


def test_past_the_memory_watermark_new_connections_are_turned_away(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with sidecar(tmp_path, pki, signing_key) as (one, upstream):
        document = one.service_document(upstream.url)
        with one.connect() as before:
            assert before.request("GET", "/public/x").status == 200
            one.write_service({**document, **fast({"limits": {"memory_bytes": "1MiB"}})})
            eventually(lambda: figures(one).get(("sidecar_incidents_total", "memory_short"), 0) == 1)
            with one.connect() as wire:
                assert wire.request("GET", "/public/x").status == 503
            assert before.request("GET", "/public/x").status == 200, "those that are open go on"
            one.write_service({**document, **fast(None)})
            eventually(lambda: figures(one).get(("sidecar_incidents_total", "memory_recovered"), 0) == 1)
            with one.connect() as wire:
                assert wire.request("GET", "/public/x").status == 200


def test_stuck_reader_of_the_log_stops_no_request(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    os.mkfifo(tmp_path / "stuck")
    reader = os.open(tmp_path / "stuck", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with Recorder() as upstream:
            service = fast({"logging": {"buffered_bytes": "16KiB"}})
            one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=service)
            one.output = tmp_path / "stuck"
            with one, one.connect() as wire:
                for _ in range(600):
                    assert wire.request("GET", "/public/x").status == 200
                eventually(lambda: figures(one)[("sidecar_log_lines_dropped_total",)] > 0)
                assert one.stop() == 0
    finally:
        os.close(reader)


def test_crash_of_one_connection_takes_no_other_with_it(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with sidecar(tmp_path, pki, signing_key) as (one, _), one.connect() as steady:
        for garbage in (
            b"\x16\x03\x01\xff\xff" + b"\xff" * 3000,
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x00" * 70000,
            b"",
        ):
            with socket.create_connection(("127.0.0.1", one.port), 60) as client:
                client.sendall(garbage)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        for _ in range(5):
            with one.connect() as wire:
                wire.abort()
        assert steady.request("GET", "/public/x").status == 200
        assert one.process.is_running


def test_interrupt_drains_like_sigterm(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key]).start()
        one.process.signal(signal.SIGINT)
        assert one.process.wait() == 0


def test_configuration_that_takes_no_process_to_read_is_told(tmp_path: Path) -> None:
    child = Child(
        [sys.executable, "-m", "sidecar", "run", "--config", tmp_path / "none.yaml"], tmp_path / "log"
    )
    assert child.wait() == 1
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert "none.yaml" in line
