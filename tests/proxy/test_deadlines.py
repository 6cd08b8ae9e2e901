"""Every wait ends: slow, silent and vanished peers, with the clock in the test's hand."""

from dataclasses import replace

import pytest

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import Limits, Timeouts
from tests.proxy.conftest import Converse
from tests.support.cleartext import HANDSHAKE, seal
from tests.support.conversation import UPSTREAM, Conversation

GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 100000\r\n\r\n"


# --- the client


def test_handshake_that_is_not_finished_in_time_ends(talk: Conversation) -> None:
    client = talk.client(shakes_hands=False)
    for byte in seal(HANDSHAKE, b"hello")[:9]:
        client.sends(bytes([byte]))
        talk.later(1)
    assert not client.is_closed
    talk.later(1.5)
    assert client.was_cut
    assert talk.observed.handshakes == [("timeout", "")]


def test_client_that_leaves_in_the_handshake_is_counted(talk: Conversation) -> None:
    client = talk.client(shakes_hands=False)
    client.leaves()
    assert client.is_closed
    assert talk.observed.handshakes == [("client_left", "")]


def test_idle_connection_is_closed_in_good_order(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    talk.upstream().says(EMPTY)
    talk.later(74)
    assert not client.is_closed
    talk.later(2)
    assert client.got_goodbye
    assert client.hears() == EMPTY
    assert len(talk.observed.records) == 1


def test_slow_head_is_408(talk: Conversation) -> None:
    client = talk.client()
    for byte in GET[:9]:
        client.says(bytes([byte]))
        talk.later(1)
    assert not client.is_closed
    talk.later(2)
    assert client.answer().status == 408
    assert client.got_goodbye
    assert talk.outcomes == [("", 408, "request_timeout")]


def test_slow_head_behind_another_request_is_408(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET + GET[:20])
    talk.upstream().says(EMPTY)
    talk.later(11)
    assert client.statuses() == [200, 408]


def test_slow_body_is_408(talk: Conversation) -> None:
    client = talk.client()
    client.says(POST)
    upstream = talk.upstream()
    for _ in range(21):
        client.says(b"x" * 10)
        talk.later(1)
    assert client.answer().status == 408
    assert client.got_goodbye
    assert upstream.is_closed
    assert talk.record.reason is Reason.REQUEST_TIMEOUT


def test_body_that_is_slow_enough_to_pass_passes(talk: Conversation) -> None:
    client = talk.client()
    client.says(POST.replace(b"100000", b"6000"))
    upstream = talk.upstream()
    for _ in range(60):
        client.says(b"x" * 100)
        talk.later(1)
    upstream.says(EMPTY)
    assert client.answer().status == 200


def test_slow_body_of_a_refused_request_ends_the_connection(talk: Conversation) -> None:
    talk.gate.refuse("/a")
    client = talk.client()
    client.says(POST.replace(b"100000", b"1000"))
    assert client.answer().status == 403
    talk.later(25)
    assert client.is_closed


def test_slow_reader_is_cut_off(talk: Conversation) -> None:
    client = talk.client()
    client.stops_reading()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x" * 100_000)
    talk.later(59)
    assert not client.is_closed
    talk.later(2)
    assert client.was_cut
    assert upstream.is_closed
    assert talk.record.ended_by == "client"


def test_last_answer_is_given_time_to_be_read(talk: Conversation) -> None:
    client = talk.client()
    client.stops_reading()
    client.says(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    talk.upstream().says(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30_000)
    for _ in range(40):
        talk.later(1)
        client.reads(1000)
    assert len(client.answer().body) == 30_000
    assert client.got_goodbye


def test_refusal_is_given_time_to_be_read_while_the_body_still_comes(converse: Converse) -> None:
    talk = converse(limits=Limits(body_bytes=10))
    client = talk.client()
    client.says(POST, b"x" * 1000)
    assert client.answer().status == 413
    assert client.got_goodbye
    assert client.is_read, "what comes is thrown away: a reset would take the answer with it"
    client.says(*[b"x" * 1000] * 10)
    assert not client.is_closed
    talk.later(3)
    assert client.is_closed


@pytest.mark.parametrize("pause", [70, 5], ids=["silent", "slow"])
def test_refusal_keeps_its_reason_when_the_rest_of_the_body_does_not_come(
    converse: Converse, pause: float
) -> None:
    talk = converse()
    talk.gate.refuse("/body", Reason.SCOPE_INSUFFICIENT)
    client = talk.client()
    client.says(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", b"x" * 10)
    assert client.answer().status == 403
    for _ in range(int(80 / pause)):
        talk.later(pause)
        if not client.is_closed:
            client.says(b"x")
    assert client.is_closed
    assert talk.record.reason is Reason.SCOPE_INSUFFICIENT
    assert not talk.record.detail


def test_client_that_never_stops_sending_is_cut_off(converse: Converse) -> None:
    talk = converse(limits=Limits(body_bytes=10))
    client = talk.client()
    client.says(POST, *[b"x" * 100_000] * 30)
    assert not client.is_closed
    client.says(*[b"x" * 100_000] * 20)
    assert client.is_closed


# --- the upstream


def test_upstream_that_leaves_connections_unanswered_is_504(talk: Conversation) -> None:
    talk.reachable = None
    client = talk.client()
    client.says(GET)
    talk.later(1.9)
    assert client.hears() == b""
    talk.later(0.2)
    assert client.answer().status == 504
    assert talk.server.upstream_connections == 0


def test_upstream_that_does_not_answer_is_504(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    talk.later(59)
    assert client.hears() == b""
    talk.later(2)
    assert client.answer().status == 504
    assert upstream.is_closed
    client.says(GET)
    talk.upstream().says(EMPTY)
    assert client.answer().status == 200, "the client's connection goes on"


def test_long_poll_may_take_as_long_as_the_response_deadline(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    talk.later(58)
    talk.upstream().says(EMPTY)
    assert client.answer().status == 200


def test_response_that_stalls_is_cut_visibly(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    talk.later(299)
    assert not client.is_closed
    talk.later(2)
    assert client.was_cut
    assert client.hears().endswith(b"3\r\nabc\r\n")
    assert talk.record.reason is Reason.UPSTREAM_TIMEOUT
    assert talk.record.ended_by == "timeout"


def test_upstream_that_does_not_read_the_body_is_to_blame(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=1000))
    talk.new_upstreams_read = False
    client = talk.client()
    client.says(POST, b"x" * 5000)
    talk.later(61)
    assert client.answer().status == 504


def test_exchange_that_takes_longer_than_the_total_is_ended(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, total_timeout=100.0))
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(99):
        talk.later(1)
        upstream.says(b"1\r\nx\r\n")
    assert not client.is_closed
    talk.later(2)
    assert client.was_cut
    assert upstream.is_closed
    assert talk.record.reason is Reason.UPSTREAM_TIMEOUT


def test_total_covers_the_wait_for_the_head(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, total_timeout=5.0))
    client = talk.client()
    client.says(GET)
    talk.later(6)
    assert client.answer().status == 504


def test_exchanges_after_the_first_have_a_total_of_their_own(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, total_timeout=5.0))
    client = talk.client()
    upstream = None
    for _ in range(4):
        client.says(GET)
        upstream = upstream or talk.upstream()
        talk.later(3)
        upstream.says(EMPTY)
    assert client.statuses() == [200] * 4


def test_decision_that_never_comes_is_503(talk: Conversation) -> None:
    talk.ponders("/a")
    client = talk.client()
    client.says(GET)
    talk.later(61)
    assert client.answer().status == 503
    talk.decide("/a")
    assert talk.untouched
    assert talk.outcomes == [("/a", 503, "issuer_unavailable")]


def test_pooled_connection_is_closed_when_nobody_uses_it(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(EMPTY)
    talk.later(3)
    assert not upstream.is_closed
    talk.later(2)
    assert upstream.is_closed


# --- those who leave


@pytest.mark.parametrize("way", ["closes", "leaves", "resets"])
def test_client_that_goes_away_cancels_the_upstream_exchange(talk: Conversation, way: str) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    getattr(client, way)()
    assert upstream.is_closed
    assert talk.record.ended_by == "client"
    assert talk.record.status == 0
    assert talk.server.upstream_connections == 0


def test_client_that_goes_away_before_the_decision_reaches_nobody(talk: Conversation) -> None:
    talk.ponders("/a")
    client = talk.client()
    client.says(GET)
    client.closes()
    assert client.is_closed
    talk.decide("/a")
    assert talk.untouched
    assert talk.record.ended_by == "client"


def test_client_that_says_no_more_still_gets_its_answers(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET + GET)
    client.says_no_more()
    upstream = talk.upstream()
    upstream.says(EMPTY)
    assert not client.is_closed
    upstream.says(EMPTY)
    assert client.statuses() == [200, 200]
    assert client.got_goodbye


def test_client_that_ends_in_the_middle_of_its_body_has_asked_for_nothing(talk: Conversation) -> None:
    client = talk.client()
    client.says(POST, b"abc")
    upstream = talk.upstream()
    client.says_no_more()
    assert upstream.is_closed
    assert client.is_closed


@pytest.mark.parametrize("way", ["leaves", "resets"])
@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
    ids=["length", "chunked"],
)
def test_upstream_that_dies_in_its_response_cuts_the_clients(
    talk: Conversation, begun: bytes, way: str
) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(begun)
    getattr(upstream, way)()
    assert client.was_cut
    assert client.hears() == begun
    assert talk.record.reason is Reason.UPSTREAM_BROKEN
    assert talk.record.status == 200


def test_reset_in_a_response_until_close_is_not_its_end(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\n\r\nabc")
    upstream.resets()
    assert client.was_cut
    assert not client.hears().endswith(b"0\r\n\r\n")


def test_timeouts_are_those_of_the_settings(converse: Converse) -> None:
    talk = converse(timeouts=Timeouts(request_head=1.0, idle=2.0))
    client, other = talk.client(), talk.client()
    client.says(b"G")
    talk.later(1.3)
    assert client.answer().status == 408
    talk.later(1)
    assert other.got_goodbye
