"""Limits of a rule stand in place of the service's, for that rule alone."""

from dataclasses import replace

import pytest

from sidecar.decision.denial import Reason
from sidecar.decision.policy import RuleLimits
from sidecar.proxy.configuration import Limits
from tests.proxy.conftest import Converse
from tests.support.conversation import UPSTREAM, Client, Conversation
from tests.support.http2_client import RawHttp2
from tests.support.http2_frames import DATA, frame, request
from tests.support.records import RULE

GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
OTHER = GET.replace(b"/a", b"/other")
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET /a HTTP/1.1\r\nHost: api\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


def limit(talk: Conversation, path: str = "/a", rule: str = "fragile", **limits: float) -> None:
    """Requests for `path` are under a rule of their own, with these limits."""
    given = RuleLimits(**limits)  # type: ignore[arg-type]  # whole numbers where they must be
    talk.gate.verdicts[path] = talk.gate.permit(
        rule=replace(RULE, name=rule, limits=given, upgrade=frozenset({"echo"}))
    )


def asks(talk: Conversation, message: bytes = GET) -> Client:
    client = talk.client()
    client.says(message)
    return client


# --- the size of a body


@pytest.mark.parametrize("service", [0, 4, 100])
def test_body_over_the_rules_limit_is_413(converse: Converse, service: int) -> None:
    talk = converse(limits=Limits(body_bytes=service))
    limit(talk, body_bytes=10)
    client = asks(talk, b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 11\r\n\r\n")
    assert client.answer().status == 413
    assert talk.untouched
    assert talk.record.reason is Reason.BODY_TOO_LARGE
    assert talk.record.detail == "body over 10 bytes"


def test_chunked_body_over_the_rules_limit_is_413(talk: Conversation) -> None:
    limit(talk, body_bytes=10)
    client = asks(
        talk, b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n"
    )
    upstream = talk.upstream()
    client.says(b"8\r\n12345678\r\n")
    assert client.answer().status == 413
    assert upstream.is_closed


@pytest.mark.parametrize("own", [10, 0])
def test_rule_may_take_larger_bodies_than_the_service(converse: Converse, own: int) -> None:
    talk = converse(limits=Limits(body_bytes=4))
    limit(talk, body_bytes=own)
    message = b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 10\r\n\r\n0123456789"
    asks(talk, message)
    assert talk.upstream().hears() == message
    other = asks(talk, message.replace(b"/a", b"/other"))
    assert other.answer().status == 413, "other rules keep the service's"


# --- the head of the response


def test_response_head_later_than_the_rules_deadline_is_504(talk: Conversation) -> None:
    limit(talk, response_timeout=2.0)
    client, other = asks(talk), asks(talk, OTHER)
    upstream = talk.upstream()
    talk.later(1.7)
    assert client.hears() == b""
    talk.later(0.6)
    assert client.answer().status == 504
    assert upstream.is_closed
    assert talk.record.reason is Reason.UPSTREAM_TIMEOUT
    assert other.hears() == b"", "other rules keep the service's"
    client.says(OTHER)
    talk.later(3)
    assert client.hears() == b"", "the next request of the connection too"


def test_long_poll_may_take_longer_than_the_service_waits(talk: Conversation) -> None:
    limit(talk, response_timeout=600.0)
    client = asks(talk)
    talk.later(599)
    talk.upstream().says(EMPTY)
    assert client.answer().status == 200


@pytest.mark.parametrize(("answers_after", "status"), [(1.5, 200), (2.3, 504)])
def test_deadline_of_the_response_head_begins_with_the_end_of_the_request(
    talk: Conversation, answers_after: float, status: int
) -> None:
    """A client that pauses in its body is judged by its rate, and is not the upstream's fault."""
    limit(talk, response_timeout=2.0)
    client = asks(talk, b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 4000\r\n\r\n")
    upstream = talk.upstream()
    for _ in range(4):
        talk.later(5)
        client.says(b"x" * 1000)
    talk.later(answers_after)
    if not upstream.is_closed:
        upstream.says(EMPTY)
    assert client.answer().status == status


def test_upstream_may_pause_in_reading_a_body_for_as_long_as_it_may_be_silent(converse: Converse) -> None:
    """The longer of the rule's deadline and the service's, be the upload slow for want of a reader."""
    talk = converse(limits=Limits(buffered_bytes=1000))
    talk.new_upstreams_read = False
    limit(talk, response_timeout=120.0)
    client = asks(talk, b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 100000\r\n\r\n")
    client.says(b"x" * 5000)
    talk.later(119)
    assert client.hears() == b""
    talk.later(2)
    assert client.answer().status == 504


# --- silence


def test_response_that_is_silent_for_longer_than_the_rule_says_is_cut(talk: Conversation) -> None:
    limit(talk, stream_timeout=5.0)
    client, other = asks(talk), asks(talk, OTHER)
    upstream, another = talk.upstream(), talk.upstream()
    for each in (upstream, another):
        each.says(STREAM + b"1\r\nx\r\n")
    talk.later(4)
    upstream.says(b"1\r\nx\r\n")
    talk.later(4)
    assert not client.is_closed
    talk.later(2)
    assert client.was_cut
    assert not other.is_closed, "other rules keep the service's"
    assert talk.record.ended_by == "timeout"


def test_events_may_be_further_apart_than_the_service_allows(talk: Conversation) -> None:
    limit(talk, stream_timeout=0.0)
    client = asks(talk)
    upstream = talk.upstream()
    upstream.says(STREAM)
    talk.later(3600)
    upstream.says(b"1\r\nx\r\n0\r\n\r\n")
    assert client.answer().body == b"x"


@pytest.mark.parametrize("speaks", ["client", "upstream", "nobody"])
def test_tunnel_that_is_silent_for_longer_than_the_rule_says_is_ended(
    talk: Conversation, speaks: str
) -> None:
    limit(talk, stream_timeout=5.0)
    client = asks(talk, UPGRADE)
    upstream = talk.upstream()
    upstream.says(SWITCHED)
    for _ in range(3):
        talk.later(4)
        if speaks == "client":
            client.says(b"ping")
        elif speaks == "upstream":
            upstream.says(b"ping")
    assert client.got_goodbye is (speaks == "nobody")
    talk.later(6)
    assert client.got_goodbye
    assert talk.record.ended_by == "timeout"


# --- the whole exchange


def test_exchange_longer_than_the_rule_says_is_ended(talk: Conversation) -> None:
    limit(talk, total_timeout=10.0)
    client = asks(talk)
    upstream = talk.upstream()
    upstream.says(STREAM)
    for _ in range(9):
        talk.later(1)
        upstream.says(b"1\r\nx\r\n")
    assert not client.is_closed
    talk.later(1.3)
    assert client.was_cut
    assert talk.record.reason is Reason.UPSTREAM_TIMEOUT


@pytest.mark.parametrize("own", [100.0, 0.0])
def test_exchange_may_take_longer_than_the_service_says(converse: Converse, own: float) -> None:
    talk = converse(upstream=replace(UPSTREAM, total_timeout=5.0))
    limit(talk, total_timeout=own)
    client = asks(talk)
    talk.later(30)
    talk.upstream().says(EMPTY)
    assert client.answer().status == 200
    client.says(OTHER)
    talk.later(6)
    assert client.answer().status == 504, "the next request has the service's again"


def test_total_of_the_service_stands_where_the_rule_says_nothing_of_it(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, total_timeout=5.0))
    limit(talk, response_timeout=100.0)
    client = asks(talk)
    talk.later(6)
    assert client.answer().status == 504


def test_tunnel_is_no_exchange_that_must_end(talk: Conversation) -> None:
    limit(talk, total_timeout=10.0)
    client = asks(talk, UPGRADE)
    talk.upstream().says(SWITCHED)
    talk.later(60)
    assert not client.is_closed


# --- how many at a time


def test_one_request_too_many_is_503_and_the_upstream_does_not_see_it(talk: Conversation) -> None:
    limit(talk, concurrent_requests=2)
    first, second, third = (asks(talk) for _ in range(3))
    upstream, _ = talk.upstream(), talk.upstream()
    answer = third.answer()
    assert (answer.status, answer.json()["reason"]) == (503, "rule_busy")
    assert answer.header("retry-after") == "1"
    assert talk.untouched
    assert talk.outcomes == [("/a", 503, "rule_busy")]
    assert talk.record.detail == "2 under way under this rule"
    assert (first.hears(), second.hears()) == (b"", b"")
    upstream.says(EMPTY)
    third.says(GET)
    upstream.says(EMPTY)
    assert third.answer().status == 200, "on the same connection, once there is room"


def test_other_rules_are_not_held_up(talk: Conversation) -> None:
    limit(talk, concurrent_requests=1)
    limit(talk, "/b", rule="another", concurrent_requests=1)
    clients = [asks(talk, message) for message in (GET, OTHER, GET.replace(b"/a", b"/b"))]
    for _ in clients:
        talk.upstream().says(EMPTY)
    assert [client.answer().status for client in clients] == [200, 200, 200]


def test_request_without_a_permit_takes_no_place(talk: Conversation) -> None:
    limit(talk, concurrent_requests=1)
    allowed = talk.gate.verdicts.pop("/a")
    talk.gate.refuse("/a")
    assert asks(talk).answer().status == 403
    talk.gate.verdicts["/a"] = allowed
    client = asks(talk)
    talk.upstream().says(EMPTY)
    assert client.answer().status == 200


def ended_by_answer(talk: Conversation, client: Client) -> None:
    talk.upstream().says(EMPTY)
    assert client.answer().status == 200


def ended_by_client(talk: Conversation, client: Client) -> None:
    talk.upstream()
    client.closes()


def ended_by_upstream(talk: Conversation, client: Client) -> None:
    talk.upstream().leaves()
    assert client.answer().status == 502


def ended_in_the_response(talk: Conversation, client: Client) -> None:
    upstream = talk.upstream()
    upstream.says(STREAM + b"1\r\nx\r\n")
    upstream.resets()
    assert client.was_cut


def ended_by_time(talk: Conversation, client: Client) -> None:
    talk.upstream()
    talk.later(61)
    assert client.answer().status == 504


def ended_while_the_client_read_nothing(talk: Conversation, client: Client) -> None:
    client.stops_reading()
    talk.upstream().says(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n", b"x" * 200_000)
    talk.later(61)
    assert client.was_cut


@pytest.mark.parametrize(
    "end",
    [
        ended_by_answer,
        ended_by_client,
        ended_by_upstream,
        ended_in_the_response,
        ended_by_time,
        ended_while_the_client_read_nothing,
    ],
)
def test_however_a_request_ends_it_leaves_its_place(talk: Conversation, end: object) -> None:
    limit(talk, concurrent_requests=1)
    client = asks(talk)
    assert talk.server.occupancy.taken() == {"fragile": 1}
    assert callable(end)
    end(talk, client)
    assert talk.server.occupancy.taken() == {}
    again = asks(talk)
    taken = talk.upstreams[-1]
    taken.says(EMPTY)
    assert again.answer().status == 200


def test_request_that_was_refused_leaves_its_place_before_its_body_is_read(talk: Conversation) -> None:
    limit(talk, concurrent_requests=1)
    client = asks(talk, b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 1000\r\n\r\n")
    talk.upstream().leaves()
    assert client.answer().status == 502
    assert talk.outcomes == [], "its body is still to come, so it is not over"
    assert talk.server.occupancy.taken() == {}


def test_request_whose_upstream_is_out_of_reach_leaves_its_place(talk: Conversation) -> None:
    talk.reachable = False
    limit(talk, concurrent_requests=1)
    assert [asks(talk).answer().status for _ in range(3)] == [502] * 3


def test_request_that_is_sent_again_has_one_place(talk: Conversation) -> None:
    limit(talk, concurrent_requests=2)
    client = asks(talk)
    stale = talk.upstream()
    stale.says(EMPTY)
    client.says(GET)
    stale.leaves()
    assert talk.server.occupancy.taken() == {"fragile": 1}
    talk.upstream().says(EMPTY)
    assert client.statuses() == [200, 200]
    assert talk.server.occupancy.taken() == {}


def test_tunnel_is_under_way_for_as_long_as_it_is_open(talk: Conversation) -> None:
    limit(talk, concurrent_requests=1)
    client = asks(talk, UPGRADE)
    talk.upstream().says(SWITCHED)
    talk.later(60)
    assert asks(talk).answer().status == 503
    client.closes()
    again = asks(talk)
    talk.upstream().says(EMPTY)
    assert again.answer().status == 200


def test_what_is_under_way_counts_after_a_reload(talk: Conversation) -> None:
    limit(talk, concurrent_requests=2)
    first, second = asks(talk), asks(talk)
    talk.reload(talk.settings)
    limit(talk, concurrent_requests=1)
    assert asks(talk).answer().status == 503
    talk.upstream().says(EMPTY)
    assert asks(talk).answer().status == 503, "one is still under way, and there is one place now"
    talk.upstream().says(EMPTY)
    again = asks(talk)
    talk.upstreams[-1].says(EMPTY)
    assert [one.answer().status for one in (first, second, again)] == [200, 200, 200]


def test_limits_of_a_rule_follow_a_reload(talk: Conversation) -> None:
    limit(talk, response_timeout=2.0)
    client = asks(talk)
    limit(talk, response_timeout=20.0)
    talk.reload(talk.settings)
    talk.later(3)
    assert client.answer().status == 504, "the old one has what it began with"
    client.says(GET)
    talk.later(19)
    talk.upstreams[-1].says(EMPTY)
    assert client.answer().status == 200


def test_limits_count_when_the_decision_came_later(talk: Conversation) -> None:
    limit(talk, concurrent_requests=1, response_timeout=2.0)
    verdict = talk.gate.verdicts["/a"]
    talk.ponders("/a")
    client, other = asks(talk), asks(talk)
    assert talk.server.occupancy.taken() == {}
    talk.decide("/a", verdict)  # type: ignore[arg-type]  # the permit that `limit` made
    assert sorted([*client.statuses(), *other.statuses()]) == [503]
    talk.later(2.3)
    assert sorted([*client.statuses(), *other.statuses()]) == [504]


def test_request_whose_time_went_into_the_decision_is_not_forwarded(talk: Conversation) -> None:
    limit(talk, total_timeout=1e-9, concurrent_requests=1)
    client = asks(talk)
    assert client.answer().status == 503
    assert talk.untouched
    assert talk.outcomes == [("/a", 503, "issuer_unavailable")]
    assert talk.server.occupancy.taken() == {}


@pytest.mark.parametrize("how", ["it leaves", "it is ended"])
def test_fault_of_ours_at_the_end_of_one_stream_keeps_no_record_of_others_back(
    converse: Converse, how: str
) -> None:
    talk = converse(expected_bugs=1)
    limit(talk, concurrent_requests=1)
    client = RawHttp2(talk)
    for number, path in enumerate(["/a", *["/free"] * 7]):
        client.asks(2 * number + 1, request(path))
    # Whatever it is: here a place that is given back twice.
    (rule,) = talk.server.serving.occupancy.taken()
    talk.server.serving.occupancy.vacate(rule)
    if how == "it leaves":
        client.client.transport.reset()
    else:
        client.writes(frame(DATA, 0, 0, b"x"))
    talk.later(3.0)
    assert sorted(record.path for record in talk.observed.records) == ["/a", *["/free"] * 7]
    assert talk.server.connections == 0
