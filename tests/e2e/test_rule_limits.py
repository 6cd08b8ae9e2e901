"""A rule's own limits, from the policy file to the wire, the log and the metrics."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.process.world import figures
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar, policy
from tests.support.slow_api import SlowApi
from tests.support.tls_client import Response, Truncated, Wire

PLACES = 3


def rule(name: str, **limits: object) -> dict[str, Any]:
    """A rule for everything under its own name, whatever the first segment says of the API's pace."""
    return {"name": name, "match": {"path": f"/{{pace}}/{name}"}, "limits": limits}


RULES = [
    rule("fragile", concurrent_requests=PLACES, response_timeout="120s"),
    rule("brief", response_timeout="300ms"),
    rule("patient", response_timeout="120s"),
    rule("short", total_timeout="6s"),  # in which a response begins, also on a busy machine
    rule("talkative", stream_timeout="300ms"),
    rule("small", body_bytes="10B"),
    {"name": "rest", "match": {"path": "/**"}},
]


@pytest.fixture(scope="module")
def api() -> Iterator[SlowApi]:
    with SlowApi() as running:
        yield running


@pytest.fixture(scope="module")
def sidecar(
    tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey, api: SlowApi
) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("limits")
    service = {"upstream": {"response_timeout": "6s"}, "limits": {"body_bytes": "1KiB"}}
    document = policy(rules=RULES)
    with Sidecar(
        folder, pki, api.url, policy_document=document, keys=[signing_key], service=service
    ) as running:
        yield running


@pytest.fixture
def token(signing_key: SigningKey, pki: Pki) -> str:
    return signing_key.token(pki.client)


def record(sidecar: Sidecar, **members: object) -> dict[str, Any]:
    """The last record with these members, waited for: the log is written a moment after the answer."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = [one for one in sidecar.access_log() if members.items() <= one.items()]
        return bool(found)

    eventually(is_there)
    return found[-1]


class Asking:
    """A request on a thread of its own."""

    def __init__(self, sidecar: Sidecar, pki: Pki, target: str, token: str) -> None:
        self.wire = sidecar.connect(pki.client)
        self.answers: list[Response] = []
        self._thread = threading.Thread(
            target=lambda: self.answers.append(self.wire.request(target=target, token=token))
        )
        self._thread.start()

    def finished(self) -> int:
        self._thread.join(60)
        self.wire.close()
        return self.answers[0].status


def counted(sidecar: Sidecar, outcome: str, reason: str) -> float:
    """Requests so far under the rule `fragile`."""
    return figures(sidecar).get(("sidecar_requests_total", "fragile", outcome, reason), 0)


def test_one_request_more_than_a_rule_bears_is_refused_until_there_is_room(
    sidecar: Sidecar, api: SlowApi, pki: Pki, token: str
) -> None:
    passed, busy = counted(sidecar, "permit", "none"), counted(sidecar, "fail", "rule_busy")
    api.hold()
    under_way = [Asking(sidecar, pki, "/held/fragile", token) for _ in range(PLACES)]
    try:
        eventually(lambda: api.held == PLACES)
        assert figures(sidecar)["sidecar_rule_requests_in_progress", "fragile"] == PLACES
        with sidecar.connect(pki.client) as wire:
            refused = wire.request(target="/held/fragile", token=token)
            assert refused.status == 503
            assert refused.header("retry-after") == "1"
            assert refused.json()["reason"] == "rule_busy"
            other = wire.request(target="/quick/elsewhere", token=token)
            assert other.status == 200, "other rules have nothing to do with it"
        assert api.most_held == PLACES
    finally:
        api.let_go()
        assert [one.finished() for one in under_way] == [200] * PLACES
    with sidecar.connect(pki.client) as wire:
        assert wire.request(target="/held/fragile", token=token).status == 200
    eventually(lambda: counted(sidecar, "permit", "none") == passed + PLACES + 1)
    assert counted(sidecar, "fail", "rule_busy") == busy + 1
    assert figures(sidecar)["sidecar_rule_requests_in_progress", "fragile"] == 0
    refusal = record(sidecar, reason="rule_busy")
    assert (refusal["rule"], refusal["status"], refusal["outcome"]) == ("fragile", 503, "fail")


def test_clients_that_hang_up_leave_their_places(
    sidecar: Sidecar, api: SlowApi, pki: Pki, token: str
) -> None:
    api.hold()
    try:
        with ExitStack() as stack:
            wires: list[Wire] = [stack.enter_context(sidecar.connect(pki.client)) for _ in range(PLACES)]
            for wire in wires:
                wire.send(b"GET /held/fragile HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer ")
                wire.send(token.encode() + b"\r\n\r\n")
            eventually(lambda: figures(sidecar)["sidecar_rule_requests_in_progress", "fragile"] == PLACES)
            for wire in wires:
                wire.abort()
        eventually(lambda: figures(sidecar)["sidecar_rule_requests_in_progress", "fragile"] == 0)
    finally:
        api.let_go()
    with sidecar.connect(pki.client) as wire:
        assert wire.request(target="/held/fragile", token=token).status == 200


def test_what_is_under_way_counts_after_a_reload(
    sidecar: Sidecar, api: SlowApi, pki: Pki, token: str
) -> None:
    api.hold()
    under_way = [Asking(sidecar, pki, "/held/fragile", token) for _ in range(PLACES)]
    try:
        eventually(lambda: figures(sidecar)["sidecar_rule_requests_in_progress", "fragile"] == PLACES)
        before = figures(sidecar)["sidecar_configuration_generation",]
        sidecar.write_policy(policy(rules=[*RULES[:-1], {"name": "others", "match": {"path": "/**"}}]))
        eventually(lambda: figures(sidecar)["sidecar_configuration_generation",] > before)
        with sidecar.connect(pki.client) as wire:
            assert wire.request(target="/held/fragile", token=token).status == 503
    finally:
        api.let_go()
        assert [one.finished() for one in under_way] == [200] * PLACES


@pytest.mark.parametrize("target", ["/held/brief", "/held/unnamed"])
def test_response_that_does_not_begin_in_time_is_504(
    sidecar: Sidecar, api: SlowApi, pki: Pki, token: str, target: str
) -> None:
    api.hold()
    try:
        with sidecar.connect(pki.client) as wire:
            answer = wire.request(target=target, token=token)
        assert (answer.status, answer.json()["reason"]) == (504, "upstream_timeout")
        assert record(sidecar, path=target)["detail"] == "no response in time: response_timeout"
    finally:
        api.let_go()


def test_rule_may_wait_longer_than_the_service(sidecar: Sidecar, api: SlowApi, pki: Pki, token: str) -> None:
    """The service's time passes for a request that came later; the rule's is still waited for."""
    api.hold()
    patient = Asking(sidecar, pki, "/held/patient", token)
    try:
        with sidecar.connect(pki.client) as wire:
            assert wire.request(target="/held/unnamed", token=token).status == 504
        assert patient.answers == []
    finally:
        api.let_go()
        assert patient.finished() == 200


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        ("/dripping/short", "the exchange took too long: total_timeout"),
        ("/silent/talkative", "the response stalled"),
    ],
)
def test_response_that_takes_too_long_is_cut_visibly(
    sidecar: Sidecar, pki: Pki, token: str, target: str, detail: str
) -> None:
    with sidecar.connect(pki.client) as wire, pytest.raises(Truncated):
        wire.request(target=target, token=token)
    found = record(sidecar, path=target)
    assert (found["reason"], found["detail"]) == ("upstream_timeout", detail)
    assert found["ended_by"] == "timeout"


@pytest.mark.parametrize(("size", "status"), [(10, 200), (11, 413)])
def test_body_over_the_rules_limit_is_413(
    sidecar: Sidecar, pki: Pki, token: str, size: int, status: int
) -> None:
    with sidecar.connect(pki.client) as wire:
        assert wire.request("POST", "/quick/small", body=b"x" * size, token=token).status == status
        if status == 200:
            assert wire.request("POST", "/quick/unnamed", body=b"x" * 11, token=token).status == 200
