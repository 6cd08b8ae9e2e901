"""Upstream connections: kept, bounded, retried once, given up quickly."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import FrameType

import pytest

from sidecar.decision.denial import Reason
from tests.proxy.conftest import Converse
from tests.support.conversation import UPSTREAM, Client, Conversation

GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 1\r\n\r\nx"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_connection_is_used_again(talk: Conversation) -> None:
    first, second = talk.client(), talk.client()
    first.says(GET)
    upstream = talk.upstream()
    upstream.says(EMPTY)
    second.says(GET)
    upstream.says(EMPTY)
    assert first.statuses() == second.statuses() == [200]
    assert talk.untouched


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_connection_that_the_upstream_ends_is_not_used_again(talk: Conversation, response: bytes) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(response)
    assert upstream.is_closed
    client.says(GET)
    talk.upstream().says(EMPTY)
    assert client.statuses() == [200, 200]


def test_last_used_connection_is_used_first(talk: Conversation) -> None:
    first, second = talk.client(), talk.client()
    first.says(GET)
    second.says(GET)
    one, two = talk.upstream(), talk.upstream()
    two.says(EMPTY)
    one.says(EMPTY)
    one.hears()
    two.hears()
    first.says(GET)
    assert one.hears() == GET
    assert two.hears() == b""


def stale(talk: Conversation, request: bytes) -> list[int]:
    """The upstream closes a kept connection just as `request` is sent on it."""
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(EMPTY)
    upstream.hears()
    client.says(request)
    upstream.leaves()
    return client.statuses()


def test_idempotent_request_on_a_stale_connection_is_sent_once_more(talk: Conversation) -> None:
    assert stale(talk, GET) == [200]
    again = talk.upstream()
    assert again.hears() == GET
    again.says(EMPTY)
    assert talk.outcomes == [("/a", 200, "")] * 2


def test_request_is_not_sent_a_third_time(talk: Conversation) -> None:
    stale(talk, GET)
    talk.upstream().leaves()
    assert talk.untouched
    assert [status for _, status, _ in talk.outcomes] == [200, 502]


def test_request_that_may_have_been_acted_on_is_not_sent_again(talk: Conversation) -> None:
    assert stale(talk, POST) == [200, 502]
    assert talk.untouched
    assert talk.gate.permitted == 2


@pytest.mark.parametrize("begun", [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 2", b"nonsense\r\n"])
def test_request_whose_response_has_begun_is_not_sent_again(talk: Conversation, begun: bytes) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(EMPTY)
    client.says(GET)
    upstream.says(begun)
    upstream.leaves()
    assert talk.untouched
    assert client.answer().status == 200
    assert client.answer().status == 502


def test_fresh_connection_that_ends_is_not_stale(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    talk.upstream().leaves()
    assert client.statuses() == [502]
    assert talk.untouched


def test_stale_connection_is_noticed_while_it_is_idle(talk: Conversation) -> None:
    client = talk.client()
    client.says(POST)
    upstream = talk.upstream()
    upstream.says(EMPTY)
    upstream.leaves()
    assert talk.server.upstream_connections == 0
    client.says(POST)
    talk.upstream().says(EMPTY)
    assert client.statuses() == [200, 200]


def test_answer_that_nobody_asked_for_ends_an_idle_connection(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(EMPTY)
    upstream.says(b"HTTP/1.1 200 Evil\r\nContent-Length: 0\r\n\r\n")
    assert upstream.is_closed
    client.says(GET)
    talk.upstream().says(EMPTY)
    assert client.hears() == EMPTY * 2


# --- bounds


def test_request_past_the_connections_waits_in_line(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=1))
    clients = [talk.client() for _ in range(3)]
    for number, client in enumerate(clients):
        client.says(GET.replace(b"/a", b"/%d" % number))
    upstream = talk.upstream()
    for _ in range(3):
        upstream.says(EMPTY)
    assert [seen.target for seen in upstream.requests()] == ["/0", "/1", "/2"]
    assert [client.statuses() for client in clients] == [[200]] * 3
    assert talk.untouched


def test_request_past_the_line_is_503(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=1, max_waiting=1))
    clients = [talk.client() for _ in range(3)]
    for client in clients:
        client.says(GET)
    answer = clients[2].answer()
    assert answer.status == 503
    assert answer.header("retry-after") is not None
    assert talk.outcomes == [("/a", 503, "overloaded")]
    talk.upstream().says(EMPTY, EMPTY)
    assert clients[1].statuses() == [200]


def test_those_who_left_make_room_in_the_line(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=1, max_waiting=1))
    busy, gone, patient = talk.client(), talk.client(), talk.client()
    busy.says(GET)
    gone.says(GET)
    gone.closes()
    patient.says(GET.replace(b"/a", b"/p"))
    upstream = talk.upstream()
    upstream.says(EMPTY, EMPTY)
    assert patient.statuses() == [200]
    assert [seen.target for seen in upstream.requests()] == ["/a", "/p"]


# --- one source and the others

ONE, OTHER = ("192.0.2.7", 50000), ("198.51.100.9", 50000)


def asks(talk: Conversation, peer: tuple[str, int], count: int) -> list[Client]:
    clients = [talk.client(peer=peer) for _ in range(count)]
    for client in clients:
        client.says(GET)
    return clients


def test_one_source_leaves_connections_to_the_others(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=8))
    greedy = asks(talk, ONE, 10)
    assert talk.server.upstream_connections == 6
    (honest,) = asks(talk, OTHER, 1)
    held, free = [talk.upstream() for _ in range(6)], talk.upstream()
    free.says(EMPTY)
    assert honest.statuses() == [200]
    for upstream in held:
        upstream.says(EMPTY)
    for upstream in held[:4]:
        upstream.says(EMPTY)
    assert [client.statuses() for client in greedy] == [[200]] * 10
    assert talk.untouched


def test_connection_that_is_free_goes_to_a_source_that_has_less_than_its_share(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=4))
    asks(talk, ONE, 3)
    held = [talk.upstream() for _ in range(3)]
    asks(talk, OTHER, 1)
    free = talk.upstream()
    late = asks(talk, ONE, 2)
    (waiting,) = asks(talk, OTHER, 1)
    free.says(EMPTY)
    assert len(free.requests()) == 2
    assert late[0].hears() == b""
    free.says(EMPTY)
    assert waiting.statuses() == [200]
    held[0].says(EMPTY, EMPTY)
    assert late[0].statuses() == [200]
    for upstream in held:
        upstream.says(EMPTY)
    assert late[1].statuses() == [200]


def test_one_source_leaves_places_in_the_line_to_the_others(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=4, max_waiting=4))
    asks(talk, ONE, 6)
    (refused,) = asks(talk, ONE, 1)
    assert refused.statuses() == [503]
    asks(talk, OTHER, 1)
    (waiting,) = asks(talk, OTHER, 1)
    assert waiting.hears() == b""
    upstreams = [talk.upstream() for _ in range(4)]
    upstreams[3].says(EMPTY, EMPTY)
    assert waiting.statuses() == [200]


def test_connections_that_ended_do_not_count_as_their_sources(converse: Converse) -> None:
    """However they ended: the client left, the API closed in good order, or it reset the connection."""
    talk = converse(upstream=replace(UPSTREAM, max_connections=4))
    greedy = asks(talk, ONE, 3)
    held = [talk.upstream() for _ in range(3)]
    late = asks(talk, ONE, 3)
    assert [client.hears() for client in late] == [b""] * 3, "three of four are one source's share"
    greedy[0].resets()
    held[1].says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    held[2].resets()
    for upstream in (talk.upstream(), talk.upstream(), talk.upstream()):
        upstream.says(EMPTY)
    assert [client.statuses() for client in late] == [[200]] * 3
    assert talk.server.upstream_connections <= 4
    (again,) = asks(talk, ONE, 1)
    (other,) = asks(talk, OTHER, 1)
    assert talk.server.upstream_connections <= 4
    assert again.hears() == other.hears() == b"", "both are with the API"


def sources_read(act: Callable[[], object]) -> int:
    """How often the source of a request is looked at while `act` runs."""
    count = 0

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call" and frame.f_code.co_name == "source"

    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


def test_a_request_is_not_counted_anew_with_all_others(converse: Converse) -> None:
    """With many connections in use, a request and its answer take no longer than with few."""
    counted = []
    for most in (8, 64):
        talk = converse(upstream=replace(UPSTREAM, max_connections=most))
        share = most - most // 4
        busy = asks(talk, ONE, share)
        waiting = asks(talk, ONE, 4)
        upstream = talk.upstream()
        counted.append(
            sources_read(partial(upstream.says, EMPTY)) + sources_read(partial(asks, talk, OTHER, 1))
        )
        assert busy[0].statuses() == [200]
        assert waiting[0].hears() == b"", "it got the place"
    assert counted[0] == counted[1]


def test_refused_connects_leave_nothing_behind_in_the_count(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=4))
    talk.reachable = False
    assert [client.statuses() for client in asks(talk, ONE, 5)] == [[502]] * 5
    talk.later(2)
    talk.reachable = True
    asks(talk, ONE, 3)
    assert talk.server.upstream_connections == 3


def test_thousands_who_left_do_not_overflow_the_stack(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=1, max_waiting=1500))
    busy = talk.client()
    busy.says(GET)
    for _ in range(1200):
        client = talk.client()
        client.says(GET)
        client.resets()
    talk.upstream().resets()
    assert busy.statuses() == [502]
    assert talk.server.upstream_connections == 0


def test_retries_keep_to_the_bound(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=2))
    clients = [talk.client() for _ in range(4)]
    for client in clients[:2]:
        client.says(GET)
    one, two = talk.upstream(), talk.upstream()
    one.says(EMPTY)
    two.says(EMPTY)
    for client in clients:
        client.says(GET)
    one.leaves()
    two.leaves()
    assert talk.server.upstream_connections == 2
    three, four = talk.upstream(), talk.upstream()
    three.says(EMPTY, EMPTY, EMPTY)
    four.says(EMPTY)
    assert [client.statuses() for client in clients] == [[200, 200], [200, 200], [200], [200]]


def test_wait_in_line_has_a_deadline(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=1, response_timeout=5.0))
    first, second = talk.client(), talk.client()
    first.says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n")
    talk.later(3)
    second.says(GET)
    talk.upstream().says(b"HTTP/1.1 200 OK\r\n\r\n")
    talk.later(6)
    assert second.statuses() == [504]


# --- passive health


def test_upstream_that_refuses_is_502(talk: Conversation) -> None:
    talk.reachable = False
    client = talk.client()
    client.says(POST)
    assert client.statuses() == [502]
    assert talk.record.reason is Reason.UPSTREAM_REFUSED
    assert talk.observed.incidents[0][0] == "upstream_down"


def test_upstream_that_is_down_is_not_asked_for_each_request(talk: Conversation) -> None:
    talk.reachable = False
    client = talk.client()
    for _ in range(50):
        client.says(GET)
    assert client.statuses() == [502] * 50
    assert talk.attempts == 1
    for _ in range(40):
        talk.later(0.1)
        client.says(GET)
    assert talk.attempts < 12
    talk.reachable = True
    talk.later(1.1)
    client.says(GET)
    talk.upstream().says(EMPTY)
    assert client.statuses() == [502] * 40 + [200]


def test_everyone_in_line_hears_that_the_upstream_is_down(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=1))
    talk.reachable = None
    clients = [talk.client() for _ in range(3)]
    for client in clients:
        client.says(GET)
    talk.later(2.5)
    assert [client.statuses() for client in clients] == [[504]] * 3


def test_client_that_leaves_while_connecting_leaves_the_connection_to_others(talk: Conversation) -> None:
    talk.latency = 0.5
    client, other = talk.client(), talk.client()
    client.says(GET.replace(b"/a", b"/gone"))
    client.closes()
    talk.later(1)
    upstream = talk.upstream()
    assert upstream.hears() == b""
    other.says(GET)
    assert upstream.hears() == GET
    upstream.leaves()
    talk.later(1)
    again = talk.upstream()
    assert again.hears() == GET, "it had been idle, so its end was a stale one"
    again.says(EMPTY)
    assert other.statuses() == [200]


def test_request_waits_for_its_connection_not_longer_than_told(talk: Conversation) -> None:
    talk.latency = 1.9
    client = talk.client()
    client.says(GET)
    talk.later(1.95)
    talk.upstream().says(EMPTY)
    assert client.statuses() == [200]
    talk.later(61)
    talk.latency = 2.1
    client.says(GET)
    talk.later(2.2)
    assert client.statuses() == [504]
