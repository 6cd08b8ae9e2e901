"""HTTP/2 on a client connection: what becomes of streams, beside what every wire owes an exchange."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from sidecar.decision.denial import Reason
from sidecar.http.certificate_field import CertificateFormat
from sidecar.proxy.configuration import Limits, Timeouts, ToldCertificateSettings, TrustedProxy
from sidecar.proxy.http2.events import (
    ENHANCE_YOUR_CALM,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
)
from sidecar.proxy.vouching.told import ToldCertificates
from tests.proxy.conftest import Converse
from tests.support.cleartext import DATA as RECORD
from tests.support.cleartext import seal
from tests.support.conversation import LISTENER, UPSTREAM, Conversation
from tests.support.http2_client import Http2Client, RawHttp2
from tests.support.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    request,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


# --- what goes to the upstream ---------------------------------------------------------------------


def test_a_request_is_translated_to_http1(talk: Conversation) -> None:
    client = Http2Client(talk)
    client.asks(
        "/a?b=c", "GET", (b"cookie", b"a=1"), (b"x-y", b"z"), (b"cookie", b"b=2"), (b"te", b"trailers")
    )
    sent = talk.upstream().hears_all()
    assert sent.startswith(b"GET /a?b=c HTTP/1.1\r\nHost: api\r\nx-y: z\r\ncookie: a=1; b=2\r\n")
    assert b"\r\nVia: 2.0 sidecar\r\n" in sent
    assert b"\r\nTE: trailers\r\nConnection: TE\r\n" in sent
    assert talk.gate.presenters[0].protocol == "h2"


def test_content_of_unknown_length_goes_on_in_chunks_with_its_trailers(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = client.asks("/a", "POST", ends=False)
    client.sends(number, b"abc")
    client.trails(number, (b"x-sum", b"1"))
    seen = talk.upstream().request()
    assert seen is not None
    assert seen.body == b"abc"
    assert ("x-sum", "1") in seen.trailers


def test_an_answer_is_translated_back(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = client.asks()
    talk.upstream().says(
        b"HTTP/1.1 201 Made\r\nConnection: close, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nX-A:  b \r\n"
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    got = client.got(number)
    assert (got.status, got.body, got.trailers, got.is_whole) == (201, b"x", {"x-sum": "1"}, True)
    assert got.fields.pop("date")
    assert got.fields == {"x-a": "b"}
    assert got.closed == NO_ERROR


def test_a_204_has_no_content_length(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = client.asks()
    talk.upstream().says(b"HTTP/1.1 204 No Content\r\nDate: x\r\nContent-Length: 0\r\n\r\n")
    assert client.got(number).fields == {"date": "x"}


def test_a_refusal_says_what_it_says_over_http1(talk: Conversation) -> None:
    talk.gate.refuse("/a", Reason.TOKEN_EXPIRED)
    client = Http2Client(talk)
    got = client.got(client.asks())
    assert (got.status, got.is_whole) == (401, True)
    assert got.fields["www-authenticate"].startswith("Bearer ")
    assert got.fields["content-type"] == "application/problem+json"
    assert got.fields["x-request-id"] == talk.record.request_id
    assert int(got.fields["content-length"]) == len(got.body)


def test_a_refusal_of_head_has_no_content(talk: Conversation) -> None:
    talk.gate.refuse("/a")
    client = Http2Client(talk)
    got = client.got(client.asks("/a", "HEAD"))
    assert (got.status, got.body, got.is_whole) == (403, b"", True)


# --- many at once ----------------------------------------------------------------------------------


def test_streams_are_decided_and_answered_each_for_itself(talk: Conversation) -> None:
    talk.ponders("/slow")
    talk.gate.refuse("/no")
    client = Http2Client(talk)
    slow, refused, first, second = (client.asks(path) for path in ("/slow", "/no", "/1", "/2"))
    assert client.got(refused).status == 403
    one, two = talk.upstream(), talk.upstream()
    two.says(OK)
    assert client.got(second).body == b"ok"
    assert client.got(first).status == 0
    talk.decide("/slow")
    one.says(OK)
    talk.upstreams[1].says()
    assert client.got(first).is_whole
    talk.upstreams[1].says(OK)
    assert client.got(slow).is_whole
    assert [path for path, _, _ in talk.outcomes] == ["/no", "/2", "/1", "/slow"]


def test_no_more_streams_are_open_at_once_than_the_limit_says(converse: Converse) -> None:
    talk = converse(limits=Limits(concurrent_streams=2))
    client = Http2Client(talk)
    assert client.streams_allowed == 2
    numbers = [client.asks(f"/{number}") for number in range(2)]
    talk.upstream().says(OK)
    assert client.got(numbers[0]).is_whole
    client.asks("/2")
    assert len(talk.gate.asked) == 3
    assert client.ended_with is None


def test_a_client_that_opens_more_streams_than_it_may_is_answered_on_the_others(converse: Converse) -> None:
    """RFC 9113 §5.1.2: an error of the stream. It has a record, and its fields are in the table."""
    talk = converse(limits=Limits(concurrent_streams=2))
    client = RawHttp2(talk)
    client.writes(b"".join(frame(HEADERS, 5, number, block(request(f"/{number}"))) for number in (1, 3, 5)))
    assert [head.path for head in talk.gate.asked] == ["/1", "/3"]
    assert client.was_reset(5) == REFUSED_STREAM
    assert [record.reason for record in talk.observed.records] == [Reason.OVERLOADED]
    for upstream in talk.upstreams:
        upstream.says(OK)
    assert [client.status(number) for number in (1, 3)] == [200, 200]
    client.asks(7, request("/7"))
    assert [head.path for head in talk.gate.asked] == ["/1", "/3", "/7"]
    assert client.goaway() is None


def test_streams_of_one_client_let_others_pass(talk: Conversation) -> None:
    talk.gate.refuse("/a", Reason.CREDENTIALS_MISSING)
    talk.gate.refuse("/other", Reason.CREDENTIALS_MISSING)
    greedy, honest = RawHttp2(talk), talk.client()
    heads = b"".join(frame(HEADERS, 5, number, block(request())) for number in range(1, 100, 2))
    greedy.client.transport.arrive(seal(RECORD, heads))
    honest.transport.arrive(seal(RECORD, b"GET /other HTTP/1.1\r\nHost: api\r\n\r\n"))
    talk.loop.settle()
    assert [head.path for head in talk.gate.asked].index("/other") <= 8
    assert len(talk.gate.asked) == 51
    assert greedy.status(99) == 401


# --- content ---------------------------------------------------------------------------------------


def test_window_is_given_back_when_the_upstream_took_the_content(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=65536))
    talk.new_upstreams_read = False
    client = Http2Client(talk)
    number = client.asks("/a", "PUT", ends=False)
    client.sends(number, b"x" * 400_000, ends=True)
    upstream = talk.upstream()
    assert client.engine.waiting(number) > 200_000, "it may send no more than what can be held"
    other = client.asks("/b")
    assert len(talk.upstreams) == 2, "other streams are not held"
    talk.upstreams[1].reads()
    talk.upstreams[1].says(OK)
    assert client.got(other).is_whole
    upstream.reads()
    client.pump()
    assert client.engine.waiting(number) == 0
    seen = upstream.request()
    assert seen is not None
    assert len(seen.body) == 400_000


@pytest.mark.parametrize(("network", "passes"), [("192.0.2.0/24", True), ("198.51.100.0/24", False)])
def test_a_client_of_a_proxy_holds_no_content_of_another(
    converse: Converse, network: str, *, passes: bool
) -> None:
    """All share the proxy's connection: its window has room for all that its streams may hold. A peer that is not
    listed gets no more than any client.
    """
    proxies = (TrustedProxy(network=ip_network(network)),)
    told = ToldCertificateSettings(CertificateFormat.RFC9440, "Client-Cert", "", proxies)
    talk = converse(listener=replace(LISTENER, told=told))
    talk.server.listeners[0].certificates = ToldCertificates(told)
    client = Http2Client(talk)
    held = [f"/{at}" for at in range(99)]
    for path in held:
        talk.ponders(path)
        client.sends(client.asks(path, "PUT", ends=False), b"x" * 100_000)
    number = client.asks("/other", "PUT", ends=False)
    client.sends(number, b"x" * 400_000, ends=True)
    assert (client.engine.waiting(number) == 0) is passes
    client.client.leaves()
    for path in held:
        talk.decide(path)


def test_an_answer_before_the_request_is_whole_refuses_the_rest(talk: Conversation) -> None:
    talk.gate.refuse("/a")
    client = Http2Client(talk)
    number = client.asks("/a", "POST", ends=False)
    got = client.got(number)
    assert (got.status, got.is_whole, got.reset) == (403, True, NO_ERROR)


def test_an_early_answer_of_the_api_is_whole_and_its_connection_is_not_used_again(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = client.asks("/a", "POST", ends=False)
    client.sends(number, b"abc")
    upstream = talk.upstream()
    upstream.says(OK)
    got = client.got(number)
    assert (got.status, got.body, got.reset) == (200, b"ok", NO_ERROR)
    assert upstream.is_closed


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_content_after_the_answer_is_thrown_away_and_its_window_given_back(
    talk: Conversation, method: str
) -> None:
    talk.gate.refuse("/a")
    client = RawHttp2(talk)
    for number in range(1, 61, 2):  # 30 × 60,000 bytes: more than the connection's window
        client.writes(
            frame(HEADERS, END_HEADERS, number, block(request("/a", method)))
            + b"".join(frame(DATA, 0, number, b"x" * 15_000) for _ in range(4))
        )
        assert client.status(number) == 403
        assert client.was_reset(number) == NO_ERROR
    assert client.goaway() is None
    given = sum(int.from_bytes(each) for each in client.of(WINDOW_UPDATE, 0))
    assert given > 1_000_000


@pytest.mark.parametrize(
    ("length", "content", "ends"),
    [(3, b"abcd", False), (3, b"ab", True), (9, b"abcd", True)],
    ids=["longer", "shorter", "much shorter"],
)
def test_content_that_is_not_as_long_as_it_said_never_completes_a_request(
    talk: Conversation, length: int, content: bytes, *, ends: bool
) -> None:
    client = RawHttp2(talk)
    client.asks(1, request("/a", "POST", (b"content-length", b"%d" % length)), ends=False)
    upstream = talk.upstream()
    client.writes(frame(DATA, END_STREAM if ends else 0, 1, content))
    assert client.was_reset(1) == PROTOCOL_ERROR
    assert upstream.is_closed, "nobody else gets what is left of it"
    assert talk.outcomes == [("/a", 0, "request_malformed")]


def test_trailers_that_frame_are_refused(talk: Conversation) -> None:
    client = RawHttp2(talk)
    client.asks(1, request("/a", "POST"), ends=False)
    upstream = talk.upstream()
    client.writes(frame(DATA, 0, 1, b"abc"))
    client.writes(frame(HEADERS, 5, 1, block([(b"content-length", b"3")])))
    assert client.status(1) == 400
    assert upstream.is_closed
    assert talk.outcomes == [("/a", 400, "request_malformed")]


def test_content_with_a_length_and_trailers_must_be_as_long(talk: Conversation) -> None:
    client = RawHttp2(talk)
    client.asks(1, request("/a", "POST", (b"content-length", b"5")), ends=False)
    upstream = talk.upstream()
    client.writes(frame(DATA, 0, 1, b"abc") + frame(HEADERS, 5, 1, block([(b"x", b"y")])))
    assert upstream.is_closed
    assert talk.record.reason is Reason.REQUEST_MALFORMED


def test_expectation_is_met_by_the_upstream(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = client.asks("/a", "POST", (b"expect", b"100-continue"), (b"content-length", b"2"), ends=False)
    upstream = talk.upstream()
    assert b"Expect: 100-continue" in upstream.hears_all()
    upstream.says(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.got(number).interims == [100]
    client.sends(number, b"hi", ends=True)
    upstream.says(OK)
    assert client.got(number).is_whole


def test_events_go_out_as_they_come(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = client.asks()
    upstream = talk.upstream()
    upstream.says(CHUNKED + b"7\r\ndata: 1\r\n")
    assert client.got(number).body == b"data: 1"
    upstream.says(b"7\r\ndata: 2\r\n")
    assert client.got(number).body == b"data: 1data: 2"
    client.resets(number)
    assert upstream.is_closed
    assert talk.record.ended_by == "client"


# --- ends ------------------------------------------------------------------------------------------


def test_an_answer_that_breaks_off_ends_its_stream_and_no_other(talk: Conversation) -> None:
    client = Http2Client(talk)
    broken, other = client.asks("/broken"), client.asks("/other")
    one, two = talk.upstream(), talk.upstream()
    one.says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    one.resets()
    assert client.got(broken).reset == INTERNAL_ERROR
    two.says(OK)
    assert client.got(other).is_whole


def test_a_client_that_takes_nothing_is_given_up_after_a_while(converse: Converse) -> None:
    talk = converse(timeouts=Timeouts(write=5.0))
    client = Http2Client(talk, window=65536)
    client.stops_taking()
    stalled, other = client.asks("/stalled"), client.asks("/other")
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", b"x" * 200_000)
    assert not upstream.is_read
    talk.later(6.0)
    assert client.got(stalled).reset is not None
    assert upstream.is_closed
    talk.upstream().says(OK)
    assert client.got(other).is_whole, "others have the connection's window, and are not to blame"


def test_a_finished_answer_that_nobody_takes_is_given_up_too(converse: Converse) -> None:
    talk = converse(timeouts=Timeouts(write=5.0, idle=60.0))
    client = Http2Client(talk, window=1)
    client.stops_taking()
    number = client.asks()
    talk.upstream().says(OK)
    assert talk.outcomes == [("/a", 200, "")]
    assert client.got(number).body == b"o"
    talk.later(6.0)
    assert client.got(number).reset is not None


def test_a_client_that_leaves_its_socket_unread_holds_every_upstream_and_begins_nothing(
    converse: Converse,
) -> None:
    talk = converse(limits=Limits(buffered_bytes=1000))
    client = Http2Client(talk)
    first = client.asks("/1")
    client.client.stops_reading()
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n", *[b"x" * 5000] * 5)
    assert not upstream.is_read
    client.engine.request(request("/2"), ends=True)
    client.client.says(client.engine.outgoing())
    assert [head.path for head in talk.gate.asked] == ["/1"]
    client.client.reads()
    client.pump()
    assert [head.path for head in talk.gate.asked] == ["/1", "/2"]
    upstream.says(b"x" * 25000)
    assert len(client.got(first).body) == 50000


def test_a_connection_that_is_one_too_many_gets_503_on_each_stream(converse: Converse) -> None:
    talk = converse(limits=Limits(connections=1))
    held = talk.client()
    held.says(b"GET /held HTTP/1.1\r\nHost: api\r\n\r\n")
    client = Http2Client(talk)
    assert client.got(client.asks()).status == 503
    assert talk.outcomes[-1] == ("", 503, "overloaded")


def test_a_fault_of_ours_is_a_500_and_the_connection_lives_on(converse: Converse) -> None:
    talk = converse(expected_bugs=1)
    talk.gate.verdicts["/bad"] = RuntimeError("secret")
    client = Http2Client(talk)
    assert client.got(client.asks("/bad")).status == 500
    number = client.asks("/good")
    talk.upstream().says(OK)
    assert client.got(number).is_whole


def test_a_client_that_says_goodbye_still_gets_what_it_asked_for(talk: Conversation) -> None:
    client = Http2Client(talk)
    whole, half = client.asks("/whole"), client.asks("/half", "POST", ends=False)
    client.client.says_no_more()
    talk.upstream().says(OK)
    assert client.got(whole).is_whole
    assert client.got(half).reset is not None
    assert talk.upstream().is_closed
    assert client.client.got_goodbye


def test_a_client_that_says_goodbye_without_a_request_is_let_go(talk: Conversation) -> None:
    client = Http2Client(talk)
    client.client.says_no_more()
    assert client.client.got_goodbye


def test_a_client_that_leaves_ends_all_its_requests(talk: Conversation) -> None:
    client = Http2Client(talk)
    client.asks("/1")
    client.asks("/2")
    client.client.resets()
    assert [each.is_closed for each in talk.upstreams] == [True, True]
    assert {record.ended_by for record in talk.observed.records} == {"client"}


def test_goaway_of_a_client_lets_its_streams_finish_and_closes(talk: Conversation) -> None:
    client = RawHttp2(talk)
    client.asks(1, request())
    client.writes(frame(GOAWAY, 0, 0, bytes(8)))
    talk.upstream().says(OK)
    assert client.of(DATA, 1) == [b"ok"]
    assert client.client.got_goodbye


# --- order -----------------------------------------------------------------------------------------


def test_drain_announces_the_end_and_serves_what_is_on_its_way(talk: Conversation) -> None:
    client = RawHttp2(talk)
    client.asks(1, request("/1"))
    talk.server.begin_drain()
    talk.loop.settle()
    (announced,) = client.of(GOAWAY)
    assert int.from_bytes(announced[:4]) == 2**31 - 1
    client.asks(3, request("/3"))
    assert len(talk.gate.asked) == 2, "it was on its way"
    client.writes(frame(PING, ACK, 0, client.of(PING)[0]))
    assert int.from_bytes(client.of(GOAWAY)[-1][:4]) == 3
    client.asks(5, request("/5"))
    assert len(talk.gate.asked) == 2
    talk.upstream().says(OK)
    talk.upstream().says(OK)
    assert (client.status(1), client.status(3)) == (200, 200)
    assert client.client.got_goodbye


def test_an_idle_connection_leaves_a_round_trip_into_a_drain(talk: Conversation) -> None:
    client = RawHttp2(talk)
    talk.server.begin_drain()
    talk.loop.settle()
    client.writes(frame(PING, ACK, 0, client.of(PING)[0]))
    assert client.goaway() == NO_ERROR
    assert client.client.got_goodbye


def test_a_connection_whose_handshake_ends_in_a_drain_leaves_too(talk: Conversation) -> None:
    talk.tls.protocol = "h2"
    client = talk.client(shakes_hands=False)
    talk.server.begin_drain()
    client.shakes_hands()
    client.says(PREFACE + frame(SETTINGS, 0, 0))
    talk.later(1.5)
    assert client.got_goodbye


def test_a_drain_does_not_wait_for_a_client_that_answers_no_ping(talk: Conversation) -> None:
    client = RawHttp2(talk)
    talk.server.begin_drain()
    talk.later(1.5)
    assert client.client.got_goodbye


def test_an_old_connection_ends_when_its_streams_do(converse: Converse) -> None:
    talk = converse(timeouts=Timeouts(connection_age=10.0))
    client = Http2Client(talk)
    number = client.asks()
    talk.later(11.0)
    client.pump()
    assert client.goaways
    talk.upstream().says(OK)
    assert client.got(number).is_whole
    assert client.client.got_goodbye


def test_an_old_connection_ends_although_its_client_answers_no_ping(converse: Converse) -> None:
    """RFC 9113 §6.8: time for a round trip is enough. Streams without a pause would keep it open otherwise."""
    talk = converse(timeouts=Timeouts(connection_age=10.0))
    client = RawHttp2(talk)
    client.asks(1, request())
    talk.later(11.0)
    client.asks(3, request())
    assert len(talk.gate.asked) == 2, "it may have been on its way"
    talk.later(11.0)
    client.asks(5, request())
    assert [int.from_bytes(each[:4]) for each in client.of(GOAWAY)] == [0x7FFF_FFFF, 3]
    assert len(talk.gate.asked) == 2
    for upstream in talk.upstreams:
        upstream.says(OK)
    assert (client.status(1), client.status(3)) == (200, 200)
    assert client.client.got_goodbye


def test_no_more_requests_come_over_one_connection_than_the_limit_says(converse: Converse) -> None:
    talk = converse(limits=Limits(requests_per_connection=2))
    client = RawHttp2(talk)
    client.writes(b"".join(frame(HEADERS, 5, number, block(request())) for number in (1, 3, 5)))
    assert client.goaway() == NO_ERROR
    assert int.from_bytes(client.of(GOAWAY)[0][:4]) >= 3
    client.asks(7, request())
    assert len(talk.gate.asked) <= 3


def test_an_idle_connection_ends_in_good_order(converse: Converse) -> None:
    talk = converse(timeouts=Timeouts(idle=20.0))
    client = Http2Client(talk)
    number = client.asks()
    talk.later(21.0)
    client.pump()
    assert not client.client.is_closed, "a request is under way"
    talk.upstream().says(OK)
    assert client.got(number).is_whole
    talk.later(21.0)
    client.pump()
    assert client.goaways == [(number, NO_ERROR)]
    assert client.client.got_goodbye


@pytest.mark.parametrize(
    "part", [PREFACE[:10], PREFACE + b"\0\0\5\1", PREFACE + frame(HEADERS, 0, 1, b"\x82")]
)
def test_what_begins_and_is_not_finished_ends_after_the_time_of_a_head(
    converse: Converse, part: bytes
) -> None:
    talk = converse(timeouts=Timeouts(request_head=5.0, idle=60.0))
    client = RawHttp2(talk, settles=False)
    client.writes(part)
    talk.later(6.0)
    assert client.client.got_goodbye


@pytest.mark.parametrize("cut", [9, 12, 23, 30])
def test_fields_that_do_not_end_in_time_end_the_connection_beside_an_open_stream_too(
    converse: Converse, cut: int
) -> None:
    talk = converse(
        timeouts=Timeouts(request_head=5.0, idle=60.0), upstream=replace(UPSTREAM, stream_timeout=0.0)
    )
    client = RawHttp2(talk)
    client.asks(1, request())
    talk.upstream().says(CHUNKED + b"1\r\nx\r\n")
    client.writes(
        (frame(HEADERS, 0, 3, block(request())[:14]) + frame(CONTINUATION, END_HEADERS, 3, b"\x82"))[:cut]
    )
    talk.later(4.0)
    assert client.goaway() is None
    talk.later(2.0)
    assert client.goaway() == ENHANCE_YOUR_CALM
    assert [name for name, _ in talk.observed.incidents] == ["http2_flood"]
    assert client.client.got_goodbye


@pytest.mark.parametrize("part", [frame(DATA, 0, 1, b"abc")[:-1], frame(DATA, 8, 1, b"\1abc\0")[:-1]])
def test_content_has_the_time_of_its_stream(converse: Converse, part: bytes) -> None:
    talk = converse(timeouts=Timeouts(request_head=5.0))
    client = RawHttp2(talk)
    client.asks(1, request("/a", "POST"), ends=False)
    client.writes(part)
    talk.later(6.0)
    assert client.goaway() is None


@pytest.mark.parametrize("of_two_frames", [True, False])
def test_heads_that_end_in_time_may_be_cut_anywhere(converse: Converse, *, of_two_frames: bool) -> None:
    talk = converse(timeouts=Timeouts(request_head=5.0))
    client = RawHttp2(talk)
    last = b""
    for number in range(1, 19, 2):
        whole = block(request())
        head = frame(HEADERS, END_STREAM | END_HEADERS, number, whole)
        if of_two_frames:
            head = frame(HEADERS, END_STREAM, number, whole[:9]) + frame(
                CONTINUATION, END_HEADERS, number, whole[9:]
            )
        client.writes(last + head[:20])
        last = head[20:]
        talk.later(2.0)
    assert client.goaway() is None
    assert len(talk.gate.asked) == 8


def test_a_slow_client_of_a_long_head_is_served_when_it_is_whole(talk: Conversation) -> None:
    client = RawHttp2(talk)
    data = frame(HEADERS, END_STREAM, 1, block(request())) + frame(CONTINUATION, END_HEADERS, 1, b"")
    for at in range(0, len(data), 7):
        client.writes(data[at : at + 7])
    talk.upstream().says(OK)
    assert client.status(1) == 200


def test_a_connection_whose_authority_is_gone_ends_and_so_do_its_streams(talk: Conversation) -> None:
    talk.gate.valid_until = talk.wall + 1000
    client = Http2Client(talk)
    number = client.asks()
    talk.upstream().says(CHUNKED + b"1\r\nx\r\n")
    (connection,) = talk.server._connections
    assert connection.wire is not None
    connection.wire.distrust()
    talk.later(1.0)
    got = client.got(number)
    assert got.reset == INTERNAL_ERROR
    assert talk.record.ended_by == "certificate_expired"
    assert client.goaways[-1][1] == NO_ERROR
    assert client.client.got_goodbye


def test_a_stream_under_an_expired_certificate_ends(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, stream_timeout=0.0))
    talk.gate.valid_until = talk.wall + 10
    client = Http2Client(talk)
    long, short = client.asks("/long"), client.asks("/short")
    talk.upstream().says(CHUNKED + b"1\r\nx\r\n")
    talk.upstream().says(OK)
    talk.later(11.0)
    assert client.got(long).reset == INTERNAL_ERROR
    assert client.got(short).is_whole
    assert not client.client.is_closed


def test_what_is_no_http2_is_told_so_and_ends(talk: Conversation) -> None:
    client = RawHttp2(talk, settles=False)
    client.writes(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
    assert client.goaway() is not None
    assert client.client.got_goodbye
    assert talk.untouched


def test_settings_of_ours_are_as_the_limits_say(converse: Converse) -> None:
    talk = converse(limits=Limits(concurrent_streams=7, buffered_bytes=70000, header_bytes=4096, headers=10))
    client = RawHttp2(talk)
    (settings, _ack) = client.of(SETTINGS)
    said = {
        int.from_bytes(settings[at : at + 2]): int.from_bytes(settings[at + 2 : at + 6])
        for at in range(0, len(settings), 6)
    }
    assert said == {3: 7, 4: 70000, 6: 4096 + 320, 9: 1}, "and no extended CONNECT (RFC 8441)"


def test_streams_under_way_are_counted_apart_from_other_requests(talk: Conversation) -> None:
    client, other = RawHttp2(talk), talk.client()
    for number in (1, 3, 5):
        client.asks(number, request(f"/{number}"))
    other.says(b"GET /b HTTP/1.1\r\nHost: api\r\n\r\n")
    assert (talk.server.streams, talk.server.exchanges) == (3, 4)
    talk.upstreams[0].says(OK)
    assert (talk.server.streams, talk.server.exchanges) == (2, 3)
    client.writes(frame(RST_STREAM, 0, 3, bytes(4)))
    assert (talk.server.streams, talk.server.exchanges) == (1, 2)
    client.client.leaves()
    assert (talk.server.streams, talk.server.exchanges) == (0, 1)
