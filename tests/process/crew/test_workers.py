"""Several workers: one address, one health endpoint, one reload and one drain for all."""

import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.process.world import checks, events, fast, figures, generation, get, sidecar
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually, is_listening
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, policy
from tests.support.tls_client import request_bytes


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("workers")
    with sidecar(folder, pki, signing_key, {"workers": 2}) as (running, _):
        yield running


def state(one: Sidecar) -> dict[str, Any]:
    found: dict[str, Any] = ask(one, "GET", "/state")
    return found


def ask(one: Sidecar, method: str, path: str, body: object = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", one.admin_port, timeout=60)
    try:
        payload = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"} if payload else {}
        connection.request(method, path, payload, {**headers, **one.admin_headers})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def visit(one: Sidecar, times: int, target: str = "/public/x") -> None:
    """As many connections, which the kernel spreads over the workers."""
    for _ in range(times):
        with one.connect() as wire:
            assert wire.request("GET", target).status == 200


def logged(one: Sidecar, target: str, count: int) -> list[dict[str, Any]]:
    """The records of so many visits, waited for."""

    def found() -> list[dict[str, Any]]:
        return [line for line in one.access_log() if line["path"] == target]

    eventually(lambda: len(found()) == count, what=f"{count} records")
    return found()


def permitted(one: Sidecar) -> float:
    return figures(one).get(("sidecar_requests_total", "public", "permit", "none"), 0)


def test_connections_are_spread_and_figures_are_one(one: Sidecar) -> None:
    before = permitted(one)
    visit(one, 40, "/public/spread")
    assert permitted(one) - before == 40
    assert figures(one)[("sidecar_workers",)] == 2
    assert checks(one)["workers"][0]
    instances = {line["request_id"][:16] for line in logged(one, "/public/spread", 40)}
    assert len(instances) == 2, "each worker marks its requests"


def test_admin_page_shows_the_decisions_of_all(one: Sidecar) -> None:
    visit(one, 20, "/public/seen")
    found = ask(one, "GET", "/decisions")
    assert sum(entry["path"] == "/public/seen" for entry in found["entries"]) == 20
    assert ask(one, "GET", f"/decisions?after={found['cursor']}")["entries"] == []
    assert len(state(one)["workers"]) == 2


def test_page_shows_the_durations_of_all_workers_together(one: Sidecar) -> None:
    visit(one, 20)
    rows = state(one)["counts"]["durations"]
    assert len({(what, bound) for what, bound, _ in rows}) == len(rows)
    counted = sum(count for what, _, count in rows if what == "upstream")
    assert counted == figures(one)[("sidecar_upstream_duration_seconds_count",)]


def test_log_level_and_explain_reach_the_workers(one: Sidecar, pki: Pki, signing_key: SigningKey) -> None:
    assert ask(one, "POST", "/log-level", {"level": "warning"}) == {"level": "warning"}
    assert ask(one, "POST", "/log-level", {"level": "info"}) == {"level": "info"}
    question = {
        "token": signing_key.token(pki.client),
        "certificate": pki.client.pem.decode(),
        "url": "/accounts/1",
    }
    assert ask(one, "POST", "/explain", question)["permit"] is True
    assert "no PEM certificate" in ask(one, "POST", "/explain", {"certificate": "x"})["error"]


def test_one_reload_reaches_every_worker(one: Sidecar) -> None:
    before = generation(one)
    one.write_policy(policy(rules=[{"name": "public", "match": {"path": "/**"}, "public": True}]))
    eventually(lambda: generation(one) > before)
    visit(one, 30, "/anything")
    assert {line["generation"] for line in logged(one, "/anything", 30)} == {generation(one)}


def test_broken_configuration_is_refused_once_for_all(one: Sidecar) -> None:
    good = yaml.safe_load((one.folder / "policies" / "policy.yaml").read_text())
    one.write_policy({"rules": 7})
    eventually(lambda: figures(one).get(("sidecar_configuration_reload_total", "failure"), 0) == 1)
    visit(one, 5)
    one.write_policy(good)
    eventually(lambda: figures(one)[("sidecar_configuration_stale",)] == 0)


def test_worker_that_is_killed_is_started_again_and_its_counts_stay(one: Sidecar) -> None:
    before = permitted(one)
    victim, survivor = state(one)["workers"]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: figures(one)[("sidecar_worker_restarts_total",)] == 1)
    eventually(lambda: figures(one)[("sidecar_workers",)] == 2)
    assert survivor in state(one)["workers"]
    assert victim not in state(one)["workers"]
    assert permitted(one) == before
    eventually(lambda: [line["pid"] for line in events(one, "worker ended")] == [victim])
    visit(one, 20)
    assert permitted(one) == before + 20


def test_drain_reaches_every_worker(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    token = signing_key.token(pki.client)
    with Recorder() as upstream:
        service = fast({"workers": 2})
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=service).start()
        wires = [one.connect(pki.client) for _ in range(12)]
        for wire in wires:
            wire.send(request_bytes("POST", "/accounts/1", {"Content-Length": "4"}, token=token))
        eventually(lambda: figures(one)[("sidecar_requests_in_progress",)] == 12)
        pids = state(one)["workers"]
        one.process.signal(signal.SIGTERM)
        eventually(lambda: not is_listening(one.port))
        assert get(f"{one.health_url}/readyz")[0] == 503
        for wire in wires:
            wire.send(b"body")
            answer = wire.response("POST")
            assert (answer.status, answer.header("connection")) == (200, "close")
            wire.close()
        assert one.process.wait() == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_process_is_alive_while_a_worker_serves(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    """A supervisor that answers for workers that hang would keep a Pod alive that serves nobody."""
    with sidecar(tmp_path, pki, signing_key, {"workers": 2}) as (one, _):
        first, second = state(one)["workers"]
        os.kill(first, signal.SIGSTOP)
        assert get(f"{one.health_url}/livez") == (200, "ok\n")
        os.kill(second, signal.SIGSTOP)
        eventually(lambda: get(f"{one.health_url}/livez")[0] == 503)
        assert get(f"{one.health_url}/livez")[1].startswith("workers: no worker has answered for ")
        assert get(f"{one.health_url}/readyz")[0] == 503
        for pid in (first, second):
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: get(f"{one.health_url}/livez")[0] == 200)
        eventually(lambda: get(f"{one.health_url}/readyz")[0] == 200)
        assert state(one)["workers"] == [first, second]


def test_workers_end_when_the_supervisor_is_killed(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=fast({"workers": 2})).start()
        one.process.signal(signal.SIGKILL)
        assert one.process.wait() == -signal.SIGKILL
        eventually(lambda: not is_listening(one.port))


def test_port_that_another_process_shares_is_refused(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    """SO_REUSEPORT would let two instances share a port unnoticed."""
    one = Sidecar(tmp_path, pki, "http://127.0.0.1:9", keys=[signing_key], service=fast({"workers": 2}))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", one.port))
        other.listen()
        assert one.spawn().wait() == 1
    (line,) = one.log.read_text().splitlines()
    assert f"cannot listen on 127.0.0.1:{one.port}" in line


def test_worker_that_cannot_bind_ends_the_start_with_one_line(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    one = Sidecar(tmp_path, pki, "http://127.0.0.1:9", keys=[signing_key], service=fast({"workers": 2}))
    document = one.service_document("http://127.0.0.1:9")
    document["listeners"][0]["address"] = f"192.0.2.1:{one.port}"
    one.write_service({**document, "workers": 2})
    assert one.spawn().wait() == 1
    (line,) = one.log.read_text().splitlines()
    assert "192.0.2.1" in line
