"""A request that has its answer is over for everyone else: what comes late changes nothing.

While the rest of a refused request's body is still awaited, its decision, a place in line or a connection to the
upstream may come. Were any of them taken, the API would act on a request whose client was told that it failed, and
the second answer would be taken for the next request's (RFC 9112 §9.3).
"""

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.policy import RuleLimits
from sidecar.http.message import Request
from sidecar.proxy.client.http1_writer import own_answer
from sidecar.telemetry.outcome import outcome_of
from tests.support.conversation import UPSTREAM, Client, Conversation, Upstream
from tests.support.deciding import Decision
from tests.support.records import RULE
from tests.support.tls_client import Truncated

BEGUN = b"POST /slow HTTP/1.1\r\nHost: api\r\nContent-Length: 4\r\n\r\nab"
NEXT = b"cdGET /next HTTP/1.1\r\nHost: api\r\n\r\n"
OTHER = b"GET /other HTTP/1.1\r\nHost: api\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
IMPATIENT = replace(UPSTREAM, response_timeout=1.0, max_connections=1)


def carries_only_the_next(upstream: Upstream, client: Client) -> None:
    """Nothing of the refused request went to the API; the request after it does, and is answered."""
    assert upstream.hears() == b""
    client.says(NEXT)
    (request,) = upstream.requests()
    assert request.target == "/next"
    upstream.says(OK)
    assert client.statuses() == [200]


@pytest.mark.parametrize("late", [None, Denial(Reason.TOKEN_INACTIVE)])
def test_decision_that_comes_after_the_refusal_is_not_acted_on(late: Decision | None) -> None:
    with Conversation(upstream=IMPATIENT) as talk:
        talk.ponders("/slow")
        client = talk.client()
        client.says(BEGUN[:-2])
        talk.later(2.0)
        assert client.statuses() == [503]
        talk.decide("/slow", late)
        assert talk.untouched
        assert client.hears() == b""
        client.says(b"ab" + NEXT)
        (request,) = (upstream := talk.upstream()).requests()
        assert request.target == "/next"
        upstream.says(OK)
        assert client.statuses() == [200]
        assert [status for _, status, _ in talk.outcomes] == [503, 200]


def test_request_refused_in_line_is_not_sent_when_its_turn_comes() -> None:
    with Conversation(upstream=IMPATIENT) as talk:
        first = talk.client()
        first.says(OTHER)
        upstream = talk.upstream()
        assert upstream.hears()
        upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")  # the one connection stays busy
        client = talk.client()
        client.says(*BEGUN.partition(b"\r\n\r\n")[:2], b"ab")
        talk.later(1.5)
        assert client.statuses() == [504]
        upstream.says(b"ok")  # and is free
        carries_only_the_next(upstream, client)


def test_request_refused_while_connecting_is_not_sent_on_the_connection_that_comes() -> None:
    with Conversation(upstream=IMPATIENT) as talk:
        talk.latency = 1.8
        client = talk.client()
        client.says(*BEGUN.partition(b"\r\n\r\n")[:2], b"ab")
        talk.later(1.5)
        assert client.statuses() == [504]
        talk.later(0.5)
        upstream = talk.upstream()
        carries_only_the_next(upstream, client)


def test_connect_that_fails_after_the_refusal_ends_no_connection() -> None:
    with Conversation(upstream=replace(IMPATIENT, connect_timeout=2.0)) as talk:
        talk.reachable = None
        client = talk.client()
        client.says(*BEGUN.partition(b"\r\n\r\n")[:2], b"ab")
        talk.later(1.5)
        assert client.statuses() == [504]
        talk.later(1.0)
        assert not client.is_closed
        assert talk.outcomes == []
        talk.reachable = True
        talk.later(1.0)
        client.says(NEXT)
        talk.upstream().says(OK)
        assert client.statuses() == [200]


def test_client_that_leaves_before_the_decision_is_no_fault_of_ours() -> None:
    with Conversation() as talk:
        talk.ponders("/slow")
        client = talk.client()
        client.says(BEGUN)
        client.leaves()
        talk.decide("/slow")
        assert talk.untouched
        assert talk.record.ended_by == "client"
        assert outcome_of(talk.record) == ("none", "fail", "issuer_unavailable")


def test_ids_of_another_length_change_the_length_of_refusals(talk: Conversation) -> None:
    denied = talk.server.serving.answers.to(Denial(Reason.CREDENTIALS_MISSING))
    for name in ("f" * 24, "f" * 25, "f" * 24):
        answer = own_answer(denied, name, Request(), close=False)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Content-Length: %d\r\n" % len(body) in head
        assert json.loads(body)["request_id"] == name


STEPS = st.lists(
    st.sampled_from(["says", "says", "says", "decides", "refuses", "answers", "answers", "leaves"])
    | st.sampled_from([0.3, 0.8, 1.1, 2.5]),
    min_size=3,
    max_size=30,
)
WAYS = st.lists(
    st.tuples(st.sampled_from(["ponders", "refused", "narrow", "open"]), st.booleans()), max_size=9
)


class Scene:
    """A client whose requests go on slowly, and a world that answers when it likes."""

    def __init__(self, talk: Conversation, ways: list[tuple[str, bool]]) -> None:
        self.talk, self.client = talk, talk.client()
        self.narrow = talk.gate.permit(
            rule=replace(RULE, name="narrow", limits=RuleLimits(response_timeout=0.5, concurrent_requests=1))
        )
        self.pieces: list[bytes] = []
        self.pondered: list[str] = []
        self.heard: list[str | None] = []
        for number, (way, is_whole) in enumerate(ways):
            path = f"/{number}"
            if way == "ponders":
                talk.ponders(path)
                self.pondered.append(path)
            elif way != "open":
                talk.gate.verdicts[path] = self.narrow if way == "narrow" else Denial(Reason.TOKEN_INACTIVE)
            head = f"PUT {path} HTTP/1.1\r\nHost: api\r\nContent-Length: 4\r\n\r\n".encode()
            self.pieces += [head + b"abcd"] if is_whole else [head, b"ab", b"cd"]

    def take(self, step: str | float) -> None:
        if isinstance(step, float):
            self.talk.later(step)
        elif step == "says":
            if self.pieces:
                self.client.says(self.pieces.pop(0))
        elif step in {"decides", "refuses"}:
            if self.pondered:
                late = Denial(Reason.TOKEN_INACTIVE) if step == "refuses" else self.narrow
                self.talk.decide(self.pondered.pop(0), late)
        else:
            self.speak_up(step)

    def speak_up(self, step: str) -> None:
        for upstream in self.talk.upstreams:
            if step == "leaves":
                upstream.leaves()
                return
            with suppress(Truncated):
                for seen in upstream.requests():
                    upstream.says(OK.replace(b"\r\n", f"\r\nX-Target: {seen.target}\r\n".encode(), 1))

    def listen(self) -> None:
        """Each answer that is whole: what it answers, None when the sidecar gave it."""
        while True:
            try:
                self.heard.append(self.client.answer().header("x-target"))
            except Truncated:
                return


@settings(max_examples=250)
@given(ways=WAYS, steps=STEPS, latency=st.sampled_from([0.0, 0.7, 1.5]), room=st.sampled_from([1, 2]))
def test_whatever_comes_late_answers_stand_in_the_order_of_requests(
    ways: list[tuple[str, bool]], steps: list[str | float], latency: float, room: int
) -> None:
    with Conversation(upstream=replace(IMPATIENT, max_connections=room)) as talk:
        talk.latency = latency
        scene = Scene(talk, ways)
        for step in steps:
            scene.take(step)
            scene.listen()
        assert len(scene.heard) <= len(talk.gate.asked)
        for number, target in enumerate(scene.heard):
            assert target in {None, f"/{number}"}
        for path in scene.pondered:
            talk.decide(path)
