"""An upstream that speaks HTTP/2: one connection for many requests, and what becomes of them when it ends."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.denial import Reason
from sidecar.decision.request import RequestHead
from sidecar.http import intake
from sidecar.http.fields import FieldRules, RequestFields
from sidecar.http.http2_request import Http2Request
from sidecar.http.lines import FieldBlock, field_lines
from sidecar.http.message import Field, Request
from sidecar.proxy.configuration import HTTP2, Limits
from sidecar.proxy.http2.events import CANCEL, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM
from sidecar.proxy.upstream.http1_writer import request_head
from sidecar.proxy.upstream.http2_writer import fields_of, request_fields
from tests.proxy.conftest import Converse
from tests.support.conversation import UPSTREAM, Client, Conversation
from tests.support.http2_client import Http2Client
from tests.support.http2_frames import END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame
from tests.support.http2_upstream import Http2Api

H2 = replace(UPSTREAM, protocol=HTTP2)
GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 3\r\n\r\nabc"


@pytest.fixture
def talk(converse: Converse) -> Conversation:
    """The API speaks HTTP/2."""
    return converse(upstream=H2)


def test_a_request_of_http1_becomes_one_of_http2(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET /a?b HTTP/1.1\r\nHost: api:1\r\nX-Y: z\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
    api = Http2Api(talk.upstream())
    asked = api.asked[1]
    assert asked.fields[:4] == [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/a?b"),
        (b":authority", b"api:1"),
    ]
    assert (asked.value("x-y"), asked.value("te"), asked.is_whole) == ("z", "trailers", True)
    assert not {b"connection", b"host", b"transfer-encoding"} & dict(asked.fields).keys()
    api.says(1, 201, (b"x-a", b"b"), data=b"made")
    answer = client.answer()
    assert (answer.status, answer.body, answer.header("x-a")) == (201, b"made", "b")
    assert answer.header("transfer-encoding") == "chunked", "nobody said the length"


def test_many_requests_share_one_connection(talk: Conversation) -> None:
    client = Http2Client(talk)
    numbers = [client.asks(f"/{index}") for index in range(20)]
    api = Http2Api(talk.upstream())
    assert talk.untouched
    assert [asked.value(":path") for asked in api.asked.values()] == [f"/{index}" for index in range(20)]
    for stream in reversed(list(api.asked)):
        api.says(stream, data=b"ok")
    assert all(client.got(number).body == b"ok" for number in numbers)
    assert talk.server.upstream_connections == 1


def test_content_and_trailers_pass_both_ways(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = client.asks("/a", "POST", (b"te", b"trailers"), ends=False)
    api = Http2Api(talk.upstream())
    client.sends(number, b"abc")
    api.pump()
    assert api.asked[1].body == b"abc"
    api.says(1, data=b"one", ends=False)
    assert client.got(number).body == b"one"
    client.trails(number, (b"x-sum", b"1"))
    api.pump()
    assert (api.asked[1].trailers, api.asked[1].is_whole) == ({"x-sum": "1"}, True)
    api.trails(1, (b"grpc-status", b"0"))
    got = client.got(number)
    assert (got.trailers, got.is_whole) == ({"grpc-status": "0"}, True)
    assert talk.outcomes == [("/a", 200, "")]


def test_an_answer_to_head_and_one_without_content(talk: Conversation) -> None:
    client = Http2Client(talk)
    head, empty = client.asks("/a", "HEAD"), client.asks("/b")
    api = Http2Api(talk.upstream())
    api.says(1, 200, (b"content-length", b"5"))
    api.says(3, 204)
    assert (client.got(head).status, client.got(head).is_whole) == (200, True)
    assert client.got(empty).status == 204


def test_interim_answers_precede_the_final_one(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = client.asks()
    api = Http2Api(talk.upstream())
    api.informs(1, 103)
    api.says(1)
    assert client.got(number).interims == [103]


def test_no_more_requests_than_the_api_allows_are_open_at_once(converse: Converse) -> None:
    talk = converse(upstream=replace(H2, max_connections=1))
    client = Http2Client(talk)
    first = client.asks("/1")
    api = Http2Api(talk.upstream(), streams=2)
    rest = [client.asks(f"/{number}") for number in (2, 3)]
    api.pump()
    assert len(api.asked) == 2
    api.says(1)
    api.pump()
    assert len(api.asked) == 3
    api.says(3)
    api.says(5)
    assert all(client.got(number).is_whole for number in (first, *rest))


def test_past_what_one_connection_takes_another_is_opened(talk: Conversation) -> None:
    client = Http2Client(talk)
    client.asks("/1")
    api = Http2Api(talk.upstream(), streams=1)
    number = client.asks("/2")
    other = Http2Api(talk.upstream())
    other.says(1, data=b"two")
    assert client.got(number).body == b"two"
    api.says(1)


def test_a_slow_api_holds_the_client(converse: Converse) -> None:
    talk = converse(upstream=H2, limits=Limits(buffered_bytes=65536))
    client = Http2Client(talk)
    number = client.asks("/a", "PUT", ends=False)
    api = Http2Api(talk.upstream(), window=1000)
    api.takes = False
    client.sends(number, b"x" * 400_000, ends=True)
    assert client.engine.waiting(number) > 100_000
    other = client.asks("/b")
    api.pump()
    api.says(3)
    assert client.got(other).is_whole
    api.takes_on()
    for _ in range(500):
        api.pump()
        client.pump()
    assert len(api.asked[1].body) == 400_000
    api.says(1)
    assert client.got(number).is_whole


def test_a_slow_client_holds_the_api_and_no_other_stream(talk: Conversation) -> None:
    slow, quick = talk.client(), talk.client()
    slow.says(GET)
    api = Http2Api(talk.upstream())
    slow.stops_reading()
    api.says(1, 200, data=b"x" * 1_000_000)
    assert api.engine.waiting(1) > 500_000
    quick.says(GET)
    api.pump()
    api.says(3, data=b"ok")
    assert quick.answer().body == b"ok"
    slow.reads()
    api.pump()
    assert slow.answer().body == b"x" * 1_000_000


@pytest.mark.parametrize("held", [12, 99])
def test_a_client_that_takes_nothing_holds_its_own_streams_alone(talk: Conversation, held: int) -> None:
    """All share the connection to the API: its window has room for all that its streams may hold."""
    client, other = Http2Client(talk, window=65536), Http2Client(talk)
    client.stops_taking()
    for at in range(held):
        client.asks(f"/{at}")
    number = other.asks("/other")
    api = Http2Api(talk.upstream())
    for stream in list(api.asked)[:-1]:
        api.says(stream, data=b"x" * 400_000)
    assert [stream for stream in list(api.asked)[:-1] if not api.engine.waiting(stream)] == []
    api.says(max(api.asked), data=b"x" * 1_000_000)
    for _ in range(100):
        api.pump()
        client.pump()
        other.pump()
    assert len(other.got(number).body) == 1_000_000
    assert other.got(number).is_whole


def test_the_largest_limits_stay_within_what_frames_can_say(converse: Converse) -> None:
    """RFC 9113 §6.5.1, §6.9.1: a setting has 32 bits, and a window 31."""
    large = Limits(buffered_bytes=(1 << 31) - 1, header_bytes=1 << 40, headers=1_000_000_000)
    talk = converse(upstream=H2, limits=large)
    client = Http2Client(talk)
    number = client.asks("/a", "PUT", ends=False)
    client.sends(number, b"x" * 200_000, ends=True)
    api = Http2Api(talk.upstream())
    api.says(1, data=api.asked[1].body)
    assert client.got(number).body == b"x" * 200_000
    assert (client.goaways, client.ended_with, api.goaways) == ([], None, [])


def test_a_client_that_leaves_resets_its_stream_alone(talk: Conversation) -> None:
    client = Http2Client(talk)
    gone, kept = client.asks("/gone"), client.asks("/kept")
    api = Http2Api(talk.upstream())
    client.resets(gone)
    api.pump()
    assert api.asked[1].reset == CANCEL
    api.says(3, data=b"ok")
    assert client.got(kept).body == b"ok"


def test_an_early_answer_refuses_the_rest(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = client.asks("/a", "POST", ends=False)
    api = Http2Api(talk.upstream())
    api.says(1, 200, data=b"enough")
    assert client.got(number).body == b"enough"
    api.pump()
    assert api.asked[1].reset is not None
    assert not api.upstream.is_closed


def test_an_api_may_take_the_rest_after_its_answer_and_needs_not(talk: Conversation) -> None:
    """It has as long as an unused connection is kept; then the stream's place is free."""
    client, api = Http2Client(talk), None
    for at in range(100):
        number = client.asks("/a", "PUT", ends=False)
        api = api or Http2Api(talk.upstream())
        client.sends(number, b"x" * 100_000, ends=True)
        api.engine.widen(1 << 28)
        api.takes = False
        api.pump()
        api.says(2 * at + 1, data=b"ok")
        assert client.got(number).is_whole
    assert api is not None
    talk.later(UPSTREAM.idle_timeout - 2)
    api.engine.took(1, 65536)
    api.pump()
    assert (len(api.asked[1].body), api.asked[1].is_whole, api.asked[1].reset) == (100_000, True, None)
    assert [asked.reset for asked in list(api.asked.values())[1:]] == [None] * 99
    talk.later(4)
    api.pump()
    assert [asked.reset for asked in list(api.asked.values())[1:]] == [CANCEL] * 99
    number = client.asks("/b")
    api.pump()
    api.says(201, data=b"b")
    assert client.got(number).body == b"b"
    assert talk.untouched
    assert [status for _, status, _ in talk.outcomes] == [200] * 101


def test_a_stream_that_the_api_ends_is_broken_off(talk: Conversation) -> None:
    client = Http2Client(talk)
    begun, not_begun = client.asks("/1"), client.asks("/2")
    api = Http2Api(talk.upstream())
    api.says(1, data=b"abc", ends=False)
    api.gives_up(1, INTERNAL_ERROR)
    api.gives_up(3, INTERNAL_ERROR)
    assert client.got(begun).reset == INTERNAL_ERROR
    assert client.got(not_begun).status == 502
    assert [reason for _, _, reason in talk.outcomes] == ["upstream_broken"] * 2


@pytest.mark.parametrize("request_bytes", [GET, GET.replace(b"GET", b"POST")])
def test_a_refused_stream_is_sent_again_once(talk: Conversation, request_bytes: bytes) -> None:
    client = talk.client()
    client.says(request_bytes)
    api = Http2Api(talk.upstream())
    api.gives_up(1, REFUSED_STREAM)
    assert list(api.asked) == [1, 3]
    api.gives_up(3, REFUSED_STREAM)
    assert client.answer().status == 502
    assert list(api.asked) == [1, 3]


def goes_away_after(last: int) -> bytes:
    """What an API says that answers streams up to `last` and goes away."""
    answers = b"".join(
        frame(HEADERS, END_STREAM | END_HEADERS, stream, b"\x88") for stream in range(1, last + 1, 2)
    )
    return frame(SETTINGS, 0, 0) + frame(GOAWAY, 0, 0, last.to_bytes(4) + bytes(4)) + answers


def test_requests_that_are_left_over_are_sent_again_as_often_as_others_were_looked_at(
    talk: Conversation,
) -> None:
    """An API may end each connection after two requests, however many are under way."""
    client = Http2Client(talk)
    numbers = [client.asks(f"/{number}", "POST") for number in range(20)]
    while not talk.untouched:
        talk.upstream().says(goes_away_after(3))
    assert [client.got(number).status for number in numbers] == [200] * 20
    assert len(talk.upstreams) == 10


def test_an_api_that_goes_away_before_it_looks_at_anything_is_asked_once_more(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = client.asks()
    while not talk.untouched:
        talk.upstream().says(goes_away_after(0))
    assert client.got(number).status == 502
    assert len(talk.upstreams) == 2


def test_content_that_was_sent_is_not_sent_again(talk: Conversation) -> None:
    client = talk.client()
    client.says(POST)
    api = Http2Api(talk.upstream())
    api.gives_up(1, REFUSED_STREAM)
    assert list(api.asked) == [1]
    assert client.answer().status == 502


def test_goaway_lets_streams_finish_and_the_next_go_elsewhere(talk: Conversation) -> None:
    client = Http2Client(talk)
    first = client.asks("/1")
    api = Http2Api(talk.upstream())
    api.goes_away()
    second = client.asks("/2")
    other = Http2Api(talk.upstream())
    other.says(1, data=b"two")
    api.says(1, data=b"one")
    assert (client.got(first).body, client.got(second).body) == (b"one", b"two")
    assert api.upstream.is_closed


def test_a_connection_that_is_torn_is_told_to_each_and_idempotent_ones_try_again(talk: Conversation) -> None:
    client = Http2Client(talk)
    get, begun, post = client.asks("/get"), client.asks("/begun"), client.asks("/post", "POST")
    api = Http2Api(talk.upstream())
    api.says(3, data=b"abc", ends=False)
    api.upstream.resets()
    assert client.got(begun).reset == INTERNAL_ERROR
    assert client.got(post).status == 502
    other = Http2Api(talk.upstream())
    assert [asked.value(":path") for asked in other.asked.values()] == ["/get"]
    other.says(1)
    assert client.got(get).is_whole


def test_an_api_out_of_reach_is_said(talk: Conversation) -> None:
    talk.reachable = False
    client = Http2Client(talk)
    assert client.got(client.asks()).status == 502
    assert talk.record.reason is Reason.UPSTREAM_REFUSED


def test_what_is_no_http2_breaks_the_connection(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)
    talk.loop.settle()
    assert upstream.is_closed


def test_an_unused_connection_ends_in_good_order(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    api = Http2Api(talk.upstream())
    api.says(1)
    assert client.answer().status == 200
    talk.later(5.0)
    api.pump()
    assert api.goaways == [NO_ERROR]
    assert api.upstream.is_closed
    assert talk.server.upstream_connections == 0


def test_an_unused_connection_whose_api_reads_nothing_gives_its_place_back(converse: Converse) -> None:
    talk = converse(upstream=replace(H2, idle_timeout=5), limits=Limits(buffered_bytes=1000))
    client = Http2Client(talk)
    number = client.asks("/a", "POST", ends=False)
    upstream = talk.upstream()
    Http2Api(upstream)
    upstream.stops_reading()
    client.sends(number, b"x" * 2000)
    upstream.says(frame(RST_STREAM, 0, 1, NO_ERROR.to_bytes(4)))
    talk.later(14)
    assert not upstream.is_closed, "it may still read"
    talk.later(2)
    assert (upstream.is_closed, talk.server.upstream_connections) == (True, 0)


def test_an_api_that_gives_no_sign_of_life_is_given_up(converse: Converse) -> None:
    talk = converse(upstream=replace(H2, response_timeout=60.0))
    client = talk.client()
    client.says(b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n\r\n")
    upstream = talk.upstream()
    api = Http2Api(upstream)
    before = api.pings
    talk.later(11.0)
    api.pump()
    assert api.pings == before + 1, "it was asked, and answered"
    assert not upstream.is_closed
    talk.later(0.5)
    api.informs(1, 103)
    talk.later(11.0)  # asked again, and nothing is pumped: it does not answer
    talk.later(3.0)
    assert upstream.is_closed
    assert client.answer().status == 502


def test_an_api_that_gave_a_sign_of_life_is_not_asked_again_for_five_minutes(converse: Converse) -> None:
    """gRFC A8: a server ends the connection of who pings more often, with all calls on it."""
    talk = converse(upstream=replace(H2, response_timeout=900.0))
    client = talk.client()
    client.says(b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n\r\n")
    api = Http2Api(talk.upstream())
    before = api.pings
    pings = []
    for _ in range(330):
        talk.later(1.0)
        api.pump()
        pings.append(api.pings - before)
    assert pings[20] == 1
    assert pings[300] == 1, "for as long as only its signs of life come"
    assert pings[329] == 2
    assert not api.upstream.is_closed
    api.says(1, data=b"ok")
    assert client.answer().body.endswith(b"ok")


def test_a_reload_lets_what_is_under_way_finish(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    api = Http2Api(talk.upstream())
    talk.reload(replace(talk.settings, upstream=replace(H2, response_timeout=9.0)))
    api.says(1, data=b"ok")
    assert client.answer().body == b"ok"
    assert api.upstream.is_closed
    client.says(GET)
    assert len(Http2Api(talk.upstream()).asked) == 1


def test_a_malformed_answer_concerns_one_stream(talk: Conversation) -> None:
    client = Http2Client(talk)
    bad, good = client.asks("/bad"), client.asks("/good")
    api = Http2Api(talk.upstream())
    api.says(1, 200, (b"content-length", b"x"))
    api.says(3, data=b"ok")
    assert client.got(good).body == b"ok"
    assert client.got(bad).status == 502


@pytest.mark.parametrize(
    ("head", "fields"),
    [
        (
            b"GET * HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"*"), (b":authority", b"a")],
        ),
        (
            b"GET / HTTP/1.1\r\nHost: \r\nX: a: b \r\n\r\n",
            [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b"x", b"a: b")],
        ),
    ],
)
def test_a_head_is_translated_field_by_field(head: bytes, fields: list[Field]) -> None:
    assert request_fields(head, b"https") == fields


_NAMES = st.sampled_from(
    b"X-One x-two Cookie TE Expect Content-Length Transfer-Encoding Upgrade Via Connection Keep-Alive "
    b"Proxy-Connection Authorization Host X-Request-Id traceparent".split()
)
_VALUES = st.sampled_from(
    [b"", b"a", b" a: b\t", b"trailers", b"100-continue", b"7", b"chunked", b"\xe9", b"x-one"]
)


@given(
    st.lists(st.tuples(_NAMES, _VALUES), max_size=8),
    st.sampled_from([b"", b"api", b"api:1"]),
    st.booleans(),
    st.booleans(),
    st.lists(st.tuples(_NAMES.filter(lambda name: name != b"Host"), _VALUES), max_size=3),
)
def test_a_request_has_the_same_fields_over_either_version(
    received: list[Field], host: bytes, token: bool, ends: bool, own: list[Field]
) -> None:
    """`fields_of` spares the head that would be written for HTTP/1.1; what the API gets is the same."""
    _same_over_either_version(Request(), received, host, own, token=token, ends=ends)
    named = [(name.lower(), value.strip(b" \t")) for name, value in received]  # as HTTP/2 brings them
    _same_over_either_version(Http2Request(), named, host, own, token=token, ends=ends)


def _same_over_either_version(
    request: Request, received: list[Field], host: bytes, own: list[Field], *, token: bool, ends: bool
) -> None:
    fields, rules = RequestFields(), FieldRules(("X-Who",))
    request.method, request.fields, request.complete = "GET", [(b"Host", host), *received], ends
    intake.request_head(request, fields, rules)
    fields.hosts = [host] if host else []
    head = RequestHead("GET", "/a?b", "/a", "b", "api", authorization=())
    origin, identity, certificate = (FieldBlock(field_lines(each)) for each in (own, own[:1], own[1:]))
    trace = [(b"traceparent", b"00-1")]
    lines = origin.lines + field_lines(trace) + identity.lines + certificate.lines
    written = request_head(request, fields, head, said=lines, token=token, upgrades=False)
    for _ in range(2):  # the second time, what HTTP/2 says is known
        made = fields_of(request, fields, head, b"https", (origin, trace, identity, certificate), token=token)
        assert made == request_fields(written, b"https")


# --- one source and the others

ONE, OTHER = ("192.0.2.7", 50000), ("198.51.100.9", 50000)


def asks(talk: Conversation, peer: tuple[str, int], count: int) -> list[Client]:
    clients = [talk.client(peer=peer) for _ in range(count)]
    for client in clients:
        client.says(GET)
    return clients


def answers(api: Http2Api, *streams: int) -> None:
    for stream in streams:
        api.says(stream, data=b"ok")
    api.pump()


def test_one_source_leaves_streams_to_the_others(converse: Converse) -> None:
    talk = converse(upstream=replace(H2, max_connections=1))
    greedy = asks(talk, ONE, 1)
    api = Http2Api(talk.upstream(), streams=8)
    greedy += asks(talk, ONE, 9)
    api.pump()
    assert len(api.asked) == 6, "three quarters"
    (honest,) = asks(talk, OTHER, 1)
    api.pump()
    answers(api, max(api.asked))
    assert honest.statuses() == [200]
    assert len(api.asked) == 7, "one that is free is not for who has a share"
    answers(api, *sorted(api.asked)[:6])
    answers(api, *sorted(api.asked)[7:])
    assert [client.statuses() for client in greedy] == [[200]] * 10


def test_streams_of_all_connections_are_counted_together(converse: Converse) -> None:
    talk = converse(upstream=replace(H2, max_connections=2))
    asks(talk, ONE, 1)
    first = Http2Api(talk.upstream(), streams=4)
    asks(talk, ONE, 4)
    second = Http2Api(talk.upstream(), streams=4)
    asks(talk, ONE, 4)
    first.pump()
    second.pump()
    assert (len(first.asked), len(second.asked)) == (4, 2)
    (honest,) = asks(talk, OTHER, 1)
    second.pump()
    answers(second, max(second.asked))
    assert honest.statuses() == [200]


def test_a_stream_that_is_free_goes_to_a_source_that_has_less_than_its_share(converse: Converse) -> None:
    talk = converse(upstream=replace(H2, max_connections=1))
    asks(talk, ONE, 1)
    api = Http2Api(talk.upstream(), streams=4)
    asks(talk, ONE, 2)
    asks(talk, OTHER, 1)
    late, waiting = asks(talk, ONE, 1), asks(talk, OTHER, 1)
    api.pump()
    assert len(api.asked) == 4
    answers(api, max(api.asked))
    answers(api, max(api.asked))
    assert waiting[0].statuses() == [200]
    assert late[0].hears() == b""


def test_one_source_leaves_places_in_the_line_to_the_others(converse: Converse) -> None:
    talk = converse(upstream=replace(H2, max_connections=1, max_waiting=4))
    asks(talk, ONE, 1)
    api = Http2Api(talk.upstream(), streams=4)
    asks(talk, ONE, 2 + 3)
    (refused,) = asks(talk, ONE, 1)
    assert refused.statuses() == [503]
    asks(talk, OTHER, 1)
    (waiting,) = asks(talk, OTHER, 1)
    api.pump()
    answers(api, max(api.asked))
    answers(api, max(api.asked))
    assert waiting.statuses() == [200]


def test_streams_that_ended_in_any_way_leave_nothing_behind_in_the_count(converse: Converse) -> None:
    talk = converse(upstream=replace(H2, max_connections=1))
    client = talk.client(peer=ONE)
    client.says(GET)
    api = Http2Api(talk.upstream(), streams=4)
    for _ in range(3):
        gone = asks(talk, ONE, 2)
        gone[0].resets()
        api.pump()
        api.gives_up(max(api.asked), INTERNAL_ERROR)
    held = asks(talk, ONE, 3)
    api.pump()
    answers(api, *sorted(api.asked)[-2:])
    assert [one.statuses() for one in held] == [[200], [200], []]
    api.upstream.resets()  # and those two are asked for again
    again = Http2Api(talk.upstream(), streams=4)
    asks(talk, ONE, 1)
    (fourth,) = asks(talk, ONE, 1)
    again.pump()
    assert len(again.asked) == 3
    answers(again, *again.asked)
    answers(again, max(again.asked))
    assert fourth.statuses() == [200]


def test_share_of_a_source_is_the_same_each_time_that_streams_become_few(converse: Converse) -> None:
    """Streams are counted by source only while most are in use: nothing of the last time may be left, or be missed."""
    talk = converse(upstream=replace(H2, max_connections=1))
    greedy = asks(talk, ONE, 1)
    api, done = Http2Api(talk.upstream(), streams=8), 0
    for _ in range(3):
        greedy += asks(talk, ONE, 8)
        (other,) = asks(talk, OTHER, 1)
        api.pump()
        assert len(api.asked) == done + 6 + 1, "three quarters, and one of the others"
        for _ in range(2):
            waiting = sorted(api.asked)[done:]
            done += len(waiting)
            answers(api, *waiting)
        assert [client.statuses() for client in (*greedy, other)] == [[200]] * (len(greedy) + 1)
        greedy = []


def test_a_connection_is_taken_to_be_like_the_last_until_the_api_says_otherwise(converse: Converse) -> None:
    talk = converse(upstream=replace(H2, max_connections=2))
    asks(talk, ONE, 1)
    first = Http2Api(talk.upstream(), streams=1)
    asks(talk, ONE, 1)
    first.upstream.resets()
    talk.loop.settle()
    assert talk.server.upstream_connections == 2, "each request has a connection"


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"\0\0\0\0\0"],
    ids=["HTTP/1.1", "SSH", "DATA"],
)
def test_an_api_that_speaks_another_protocol_is_named_as_what_it_is(talk: Conversation, said: bytes) -> None:
    client = Http2Client(talk)
    numbers = [client.asks(), client.asks("/b", "POST")]
    upstream = talk.upstream()
    upstream.says(said)
    assert [client.got(number).status for number in numbers] == [502, 502]
    assert {record.detail for record in talk.observed.records} == {
        "the upstream speaks no HTTP/2 (upstream.protocol is h2)"
    }
    assert {record.reason for record in talk.observed.records} == {Reason.UPSTREAM_REFUSED}
    assert talk.untouched, "it is not asked again"
    assert upstream.is_closed
    assert [name for name, _ in talk.observed.incidents] == ["upstream_down"]


def test_connection_of_earlier_settings_is_still_asked_whether_it_lives(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n")
    old = talk.upstream()
    Http2Api(old).pump()
    talk.reload(replace(talk.settings, upstream=replace(H2, response_timeout=1000.0)))
    talk.later(60.0)
    assert old.is_closed
    assert client.answer().status == 502


def test_connections_of_earlier_settings_end_with_the_server(talk: Conversation) -> None:
    talk.client().says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n")
    old = talk.upstream()
    Http2Api(old).pump()
    talk.reload(replace(talk.settings, upstream=replace(H2, response_timeout=1000.0)))
    talk.server.close()
    assert old.is_closed
