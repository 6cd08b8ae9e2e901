"""`sidecar run` as a process: starts whole or not at all, says how it is, and drains."""

import contextlib
import json
import signal
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import pytest

from sidecar.process.watches.probes import REMEMBERED
from sidecar.proxy.client.host import IDLE_GRACE
from tests.process.world import checks, events, fast, figures, get, sidecar
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import Child, eventually, is_listening
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, issuer, policy
from tests.support.tls_client import Wire, request_bytes


def prepared(folder: Path, pki: Pki, key: SigningKey, upstream: str = "http://127.0.0.1:9") -> Sidecar:
    return Sidecar(folder, pki, upstream, keys=[key], service=fast(None))


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_serves_probes_and_metrics_and_ends_with_zero(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_LOOP", loop)
    with sidecar(tmp_path, pki, signing_key) as (one, _):
        with one.connect(pki.client) as wire:
            assert wire.request("GET", "/accounts/1", token=signing_key.token(pki.client)).status == 200
            assert wire.request("GET", "/accounts/1", token=signing_key.token(pki.other_client)).status == 401
        assert get(f"{one.health_url}/livez") == (200, "ok\n")
        assert get(f"{one.health_url}/startupz") == (200, "ok\n")
        found = figures(one)
        assert found[("sidecar_requests_total", "accounts", "permit", "none")] == 1
        assert found[("sidecar_requests_total", "accounts", "deny", "binding_mismatch")] == 1
        assert found[("sidecar_tls_handshakes_total", "full")] == 1
        assert found[("process_resident_memory_bytes",)] > 1 << 20
        assert one.stop() == 0
    lines = one.access_log()
    assert [line["outcome"] for line in lines] == ["permit", "deny"]
    assert [record["event"] for record in one.records() if "level" in record] == [
        "started",
        "draining",
        "stopped",
    ]


def test_every_problem_of_a_bad_configuration_is_told_and_no_port_is_bound(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    one = prepared(tmp_path, pki, signing_key)
    document = one.service_document("gopher://nowhere")
    one.write_service({**document, "surprise": 1, "limits": {"headers": "many"}})
    child = one.spawn()
    assert child.wait() == 1
    lines = one.log.read_text().splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{one.config}:") for line in lines)
    assert not is_listening(one.port)
    assert not is_listening(one.health_port)


@pytest.mark.parametrize("taken", ["port", "admin_port", "health_port"])
def test_port_in_use_is_one_clear_line(tmp_path: Path, pki: Pki, signing_key: SigningKey, taken: str) -> None:
    one = prepared(tmp_path, pki, signing_key)
    port = getattr(one, taken)
    with socket.create_server(("127.0.0.1", port)):
        assert one.spawn().wait() == 1
    (line,) = one.log.read_text().splitlines()
    assert line.endswith(f"cannot listen on 127.0.0.1:{port}: address already in use")


def test_port_that_was_taken_for_zero_is_told(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key])
        document = one.service_document(upstream.url)
        document["listeners"][0] |= {"name": "main", "address": "127.0.0.1:0"}
        one.write_service(document)
        with one:
            eventually(lambda: bool(events(one, "started")))
            name, address = events(one, "started")[0]["listeners"][0].split()
            one.port = int(address.rpartition(":")[2])
            assert (name, one.port > 0) == ("main", True)
            with one.connect() as wire:
                assert wire.request("GET", "/public/x").status == 200


def test_usage_error_ends_with_two(tmp_path: Path) -> None:
    child = Child([sys.executable, "-m", "sidecar", "run"], tmp_path / "log")
    assert child.wait() == 2


def test_not_ready_while_the_upstream_does_not_answer_or_keys_are_missing(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    one = prepared(tmp_path, pki, signing_key)
    one.write_policy(
        policy(issuers=[issuer(keys={"jwks_file": None, "jwks_url": "https://127.0.0.1:9/jwks"})])
    )
    child = one.child = one.spawn()
    try:
        eventually(lambda: is_listening(one.health_port))
        status, body = get(f"{one.health_url}/readyz")
        assert status == 503
        assert "upstream 127.0.0.1:9: " in body
        assert "no keys yet" in body
        found = checks(one)
        assert found["serving"] == (True, "")
        assert not found["issuer keys https://as.example.com"][0]
        assert not checks(one, "/startupz")["issuer keys https://as.example.com"][0]
        assert get(f"{one.health_url}/livez")[0] == 200
    finally:
        assert child.stop() == 0


def test_silent_connections_do_not_keep_a_probe_out(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with sidecar(tmp_path, pki, signing_key) as (one, _):
        silent = [socket.create_connection(("127.0.0.1", one.health_port), 60) for _ in range(200)]
        try:
            assert get(f"{one.health_url}/livez")[0] == 200
            assert figures(one)[("process_open_fds",)] < 150
        finally:
            for connection in silent:
                connection.close()


def test_probes_are_no_load_on_the_api(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as api:
        api.settimeout(0.2)
        one = prepared(tmp_path, pki, signing_key, f"http://127.0.0.1:{api.getsockname()[1]}")
        began, asked = time.monotonic(), 0
        with one:
            while asked < 100 or asked < 4 * (
                time.monotonic() - began
            ):  # far more often than once in REMEMBERED
                assert get(f"{one.health_url}/readyz")[0] == 200
                asked += 1
            most = (time.monotonic() - began) / REMEMBERED + 2
        tried = 0
        with contextlib.suppress(TimeoutError):
            while True:
                api.accept()[0].close()
                tried += 1
    assert 1 <= tried <= most < asked


def test_expired_server_certificate_is_not_ready(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    one = prepared(tmp_path, pki, signing_key)
    pki.server_authority.expired().write(tmp_path / "tls", "tls")
    one.child = one.spawn()
    try:
        eventually(lambda: is_listening(one.health_port))
        assert checks(one)[f"certificate of listener 127.0.0.1:{one.port}"] == (False, "expired")
    finally:
        one.stop()


def test_probes_are_not_served_on_the_data_port(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    with sidecar(tmp_path, pki, signing_key) as (one, upstream):
        with one.connect(pki.client) as wire:
            assert wire.request("GET", "/readyz", [("User-Agent", "kube-probe/1.30")]).status == 401
        assert upstream.seen == []


def test_request_under_way_finishes_in_the_drain_and_its_answer_closes(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=fast(None)).start()
        token = signing_key.token(pki.client)
        with one.connect(pki.client) as busy, one.connect(pki.client) as idle:
            assert idle.request("GET", "/accounts/1", token=token).status == 200
            busy.send(request_bytes("POST", "/accounts/1", {"Content-Length": "4"}, token=token))
            eventually(lambda: figures(one)[("sidecar_requests_in_progress",)] == 1)
            one.process.signal(signal.SIGTERM)
            eventually(lambda: not is_listening(one.port))
            status, body = get(f"{one.health_url}/readyz")
            assert (status, "draining" in body) == (503, True)
            assert idle.is_closed_by_peer()
            busy.send(b"body")
            answer = busy.response("POST")
            assert (answer.status, answer.header("connection")) == (200, "close")
            assert busy.is_closed_by_peer()
        assert one.process.wait() == 0
    assert events(one, "drain ended with requests under way") == []


def test_second_sigterm_ends_at_once(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=fast(None)).start()
        with one.connect(pki.client) as wire:
            wire.send(
                request_bytes(
                    "POST", "/accounts/1", {"Content-Length": "4"}, token=signing_key.token(pki.client)
                )
            )
            eventually(lambda: figures(one)[("sidecar_requests_in_progress",)] == 1)
            one.process.signal(signal.SIGTERM)
            eventually(lambda: bool(events(one, "draining")))
            assert one.process.is_running
            one.process.signal(signal.SIGTERM)
            assert one.process.wait() == 0, "the drain would have waited half a minute"


def test_drain_that_takes_too_long_is_cut_and_said(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    service = {"timeouts": {"drain": "300ms"}}
    with sidecar(tmp_path, pki, signing_key, service) as (one, _), one.connect(pki.client) as wire:
        wire.send(
            request_bytes("POST", "/accounts/1", {"Content-Length": "4"}, token=signing_key.token(pki.client))
        )
        eventually(lambda: figures(one)[("sidecar_requests_in_progress",)] == 1)
        assert one.stop() == 0
    assert len(events(one, "drain ended with requests under way")) == 1


def test_client_that_honours_close_loses_no_request_in_a_drain(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    token = signing_key.token(pki.client)
    answers: list[int] = []
    failures: list[str] = []

    def ask(one: Sidecar) -> None:
        """Keep-alive requests until no new connection is accepted."""
        while True:
            began = time.monotonic()
            try:
                wire = one.connect(pki.client)
            except (OSError, ssl.SSLError) as error:
                if is_listening(one.port):
                    failures.append(f"handshake: {error!r}")
                    continue
                return
            with wire:
                _ask_until_close(wire, token, answers, failures, began)

    with sidecar(tmp_path, pki, signing_key) as (one, _):
        clients = [threading.Thread(target=ask, args=(one,)) for _ in range(4)]
        for client in clients:
            client.start()
        eventually(lambda: len(answers) > 50)
        assert one.stop() == 0
        for client in clients:
            client.join(120)
    assert failures == []
    assert set(answers) == {200}


def _ask_until_close(wire: Wire, token: str, answers: list[int], failures: list[str], began: float) -> None:
    """`began`: before the connection was opened."""
    sent = began
    while True:
        busy_at, sent = sent, time.monotonic()
        try:
            answer = wire.request("GET", "/accounts/1", token=token)
        except Exception as error:
            # A busy machine may let a client wait: the connection was idle for so long that a drain closes it. It was
            # idle from an answer on, which a client may read late, but which came after the request before this one.
            if time.monotonic() - busy_at < IDLE_GRACE:
                failures.append(repr(error))
            return
        answers.append(answer.status)
        if (answer.header("connection") or "").lower() == "close":
            return


def test_log_may_go_to_a_file_that_is_rotated(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    log = tmp_path / "access.log"
    with sidecar(tmp_path, pki, signing_key, {"logging": {"file": "access.log"}}) as (one, _):
        eventually(lambda: "started" in log.read_text())
        log.rename(tmp_path / "access.log.1")
        one.process.signal(signal.SIGHUP)
        eventually(lambda: log.exists() and "configuration reloaded" in log.read_text())
        with one.connect(pki.client) as wire:
            assert wire.request("GET", "/public/x").status == 200
        one.stop()
    assert any(json.loads(line).get("path") == "/public/x" for line in log.read_text().splitlines())
    assert one.output.read_text() == ""


def test_closed_standard_output_stops_nothing(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=fast(None))
        command = ["sh", "-c", f"exec {sys.executable} -m sidecar run --config {one.config} >&-"]
        one.child = Child(command, one.log, output=one.output)
        one.child.wait_ready(lambda: get_ok(one))
        try:
            for _ in range(3):
                with one.connect(pki.client) as wire:
                    assert wire.request("GET", "/public/x").status == 200
            eventually(lambda: figures(one)[("sidecar_log_lines_dropped_total",)] > 0)
        finally:
            assert one.stop() == 0


def get_ok(one: Sidecar) -> bool:
    try:
        return get(f"{one.health_url}/readyz")[0] == 200
    except OSError:
        return False
