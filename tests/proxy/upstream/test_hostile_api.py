"""An API of HTTP/2 that is broken, or hostile: it harms its own answers, and no more."""

import asyncio
from dataclasses import replace

import pytest

from sidecar.proxy.configuration import HTTP2
from sidecar.proxy.http2.events import CANCEL, REFUSED_STREAM
from sidecar.proxy.upstream.http2 import Http2Pool
from sidecar.proxy.upstream.http2_visit import Visit, VisitFailed
from tests.proxy.conftest import Converse
from tests.support.conversation import UPSTREAM, Conversation
from tests.support.http2_client import Http2Client
from tests.support.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PUSH,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
)
from tests.support.http2_upstream import Http2Api

H2 = replace(UPSTREAM, protocol=HTTP2)
OK = block([(b":status", b"200")])
WHOLE = END_HEADERS | END_STREAM


@pytest.fixture
def talk(converse: Converse) -> Conversation:
    """The API speaks HTTP/2."""
    return converse(upstream=H2)


def setting(name: int, value: int) -> bytes:
    return name.to_bytes(2) + value.to_bytes(4)


@pytest.mark.parametrize("status", [100, 103, 199])
def test_interim_answers_without_end_are_no_answer(talk: Conversation, status: int) -> None:
    """No window limits them, and what the client does not read of them would be kept."""
    client = Http2Client(talk)
    number, other = client.asks("/a"), client.asks("/b")
    api = Http2Api(talk.upstream())
    for _ in range(100):
        api.informs(1, status)
    assert client.got(number).interims == [status] * 100
    for _ in range(100):
        api.informs(1, status)
    got = client.got(number)
    assert (got.status, len(got.interims)) == (502, 100)
    assert api.asked[1].reset == CANCEL
    api.says(3, data=b"ok")
    assert client.got(other).body == b"ok"
    assert talk.outcomes[0] == ("/a", 502, "upstream_broken")


@pytest.mark.parametrize("reads", [True, False])
def test_large_interim_answers_count_as_several(talk: Conversation, *, reads: bool) -> None:
    """All those of one request are no larger than one head may be: a client that does not read lets them wait."""
    client = Http2Client(talk)
    number, other = client.asks("/a"), client.asks("/b")
    api = Http2Api(talk.upstream())
    if not reads:
        client.client.stops_reading()
    large = frame(HEADERS, END_HEADERS, 1, block([(b":status", b"103"), (b"x", b"y" * 14_000)]))
    api.upstream.says(*[large] * 100)
    api.pump()
    assert api.asked[1].reset == CANCEL
    client.client.reads()
    assert (client.got(number).status, client.got(number).interims) == (502, [103] * 4)
    api.says(3, data=b"ok")
    assert client.got(other).body == b"ok"


FOR_NOTHING: dict[str, bytes] = {
    "content without a byte": frame(DATA, 0, 1),
    "windows": frame(WINDOW_UPDATE, 0, 0, bytes(3) + b"\1"),
    "what nobody knows": frame(0x77, 0, 0),
}


@pytest.mark.parametrize("kind", FOR_NOTHING)
@pytest.mark.parametrize("then", ["it goes on", "it is gone"])
def test_frames_for_nothing_let_others_have_their_turn(talk: Conversation, kind: str, then: str) -> None:
    client = Http2Client(talk)
    number = client.asks("/a")
    api = Http2Api(talk.upstream())
    pool = talk.server.serving.pool
    assert isinstance(pool, Http2Pool)
    transport, road = api.upstream.transport, next(iter(pool._roads))
    head, rest = frame(HEADERS, END_HEADERS, 1, OK), frame(DATA, END_STREAM, 1, b"ok")
    transport.arrive(head + FOR_NOTHING[kind] * 5_000 + rest)
    left: list[int] = []
    talk.loop.call_soon(lambda: left.append(road.engine.kept_bytes))
    if then == "it is gone":
        talk.loop.call_soon(transport.reset)
    talk.loop.settle()
    assert left[0] > 3_000 * len(FOR_NOTHING[kind])
    assert (client.got(number).body, client.got(number).is_whole) == (b"ok", True), "what came is not lost"
    number = client.asks("/b")
    api = Http2Api(talk.upstream()) if then == "it is gone" else api
    api.pump()
    api.says(max(api.asked), data=b"next")
    assert client.got(number).body == b"next"


@pytest.mark.parametrize("kind", FOR_NOTHING)
def test_frames_for_nothing_without_end_break_the_connection(talk: Conversation, kind: str) -> None:
    """As many as a gRPC server sends beside its messages are none of them."""
    client = Http2Client(talk)
    number = client.asks("/a")
    api = Http2Api(talk.upstream())
    api.upstream.says(frame(HEADERS, END_HEADERS, 1, OK))
    for _ in range(10):
        api.upstream.says(FOR_NOTHING[kind] * 9_000)
        talk.later(1)
    assert not api.upstream.is_closed
    for _ in range(10):
        api.upstream.says(FOR_NOTHING[kind] * 9_000)
    assert api.upstream.is_closed
    assert client.got(number).reset is not None
    assert talk.outcomes == [("/a", 200, "upstream_broken")]


OF_THE_STREAM: dict[str, list[bytes]] = {
    "trailers that do not end it": [
        frame(HEADERS, END_HEADERS, 1, OK), frame(HEADERS, END_HEADERS, 1, block([(b"x", b"y")])),
    ],
    "more content than it said": [
        frame(HEADERS, END_HEADERS, 1, OK + block([(b"content-length", b"1")])), frame(DATA, END_STREAM, 1, b"ab"),
    ],
    "less content than it said": [
        frame(HEADERS, END_HEADERS, 1, OK + block([(b"content-length", b"3")])), frame(DATA, END_STREAM, 1, b"ab"),
    ],
    "no content, but a length": [frame(HEADERS, WHOLE, 1, OK + block([(b"content-length", b"3")]))],
    "two lengths": [frame(HEADERS, END_HEADERS, 1, OK + block([(b"content-length", b"3")] * 2))],
    "an interim answer that ends it": [frame(HEADERS, WHOLE, 1, block([(b":status", b"103")]))],
    "a switch of protocols": [frame(HEADERS, END_HEADERS, 1, block([(b":status", b"101")]))],
    "no status": [frame(HEADERS, WHOLE, 1, block([(b"x", b"y")]))],
    "two of them": [frame(HEADERS, WHOLE, 1, OK + OK)],
    "the head of a request": [frame(HEADERS, WHOLE, 1, block([(b":status", b"200"), (b":path", b"/")]))],
    "a status of four digits": [frame(HEADERS, WHOLE, 1, block([(b":status", b"0200")]))],
    "a field of HTTP/1.1": [frame(HEADERS, WHOLE, 1, OK + block([(b"transfer-encoding", b"chunked")]))],
    "a line end in a value": [frame(HEADERS, WHOLE, 1, OK + block([(b"x", b"a\r\nset-cookie: b")]))],
    "a name in upper case": [frame(HEADERS, WHOLE, 1, OK + block([(b"X", b"y")]))],
    "an empty name": [frame(HEADERS, WHOLE, 1, OK + block([(b"", b"")]))],
    "trailers with a status": [frame(HEADERS, END_HEADERS, 1, OK), frame(HEADERS, WHOLE, 1, OK)],
    "content before a head": [frame(DATA, 0, 1, b"x")],
    "a window of nothing": [frame(WINDOW_UPDATE, 0, 1, bytes(4))],
    "a window that is too large": [frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff")],
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_THE_STREAM)
def test_an_error_of_one_stream_is_its_requests_alone(talk: Conversation, kind: str) -> None:
    client = Http2Client(talk)
    number, other = client.asks("/a"), client.asks("/b")
    api = Http2Api(talk.upstream())
    api.upstream.says(*OF_THE_STREAM[kind])
    api.pump()
    assert not client.got(number).is_whole or client.got(number).status == 502
    assert api.asked[1].reset is not None
    api.says(3, data=b"ok")
    assert client.got(other).body == b"ok"
    assert [path for path, _, reason in talk.outcomes if reason] == ["/a"]
    assert len(talk.upstreams) == 1, "it is not asked again"


OF_THE_CONNECTION: dict[str, bytes] = {
    "a push": frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + OK),
    "push allowed": frame(SETTINGS, 0, 0, setting(2, 1)),
    "settings of a stream": frame(SETTINGS, 0, 1),
    "more settings than there are": frame(SETTINGS, 0, 0, setting(4, 1) * 2730),
    "a second acknowledgement": frame(SETTINGS, 1, 0),
    "an answer to no request": frame(HEADERS, WHOLE, 99, OK),
    "an answer on an even stream": frame(HEADERS, WHOLE, 2, OK),
    "more windows than there can be": frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
    "more than its frame may have": b"\0\x40\1" + bytes((DATA, 0)) + b"\0\0\0\1",
    "an index beyond the tables": frame(HEADERS, WHOLE, 1, b"\xff\x7f"),
    "a head without an end": frame(HEADERS, 0, 1, OK) + frame(CONTINUATION, 0, 1, b"x" * 16_000) * 17,
    "a head that is twice too large": frame(HEADERS, 0, 1, OK + block([(b"x", b"y" * 300_000)])[:10_000])
    + frame(CONTINUATION, 0, 1, b"y" * 16_384) * 16,
    "another frame within a head": frame(HEADERS, 0, 1, OK) + frame(PING, 0, 0, bytes(8)),
    "pings of a stream": frame(PING, 0, 1, bytes(8)),
}


@pytest.mark.parametrize("kind", OF_THE_CONNECTION)
def test_an_error_of_the_connection_ends_it_and_its_requests_once(talk: Conversation, kind: str) -> None:
    client = Http2Client(talk)
    numbers = [client.asks(f"/{at}", "POST") for at in range(3)]
    api = Http2Api(talk.upstream())
    api.upstream.says(OF_THE_CONNECTION[kind] + frame(HEADERS, WHOLE, 3, OK))
    assert [client.got(number).status for number in numbers] == [502] * 3
    assert api.upstream.is_closed
    assert [(status, reason) for _, status, reason in talk.outcomes] == [(502, "upstream_broken")] * 3
    assert len(talk.upstreams) == 1, "a POST that may have been processed is not sent again"


def test_whatever_comes_after_an_answer_has_begun_no_request_is_sent_again(talk: Conversation) -> None:
    """REFUSED_STREAM, and GOAWAY below the stream, say that it was not processed: of this one that is not true."""
    client = Http2Client(talk)
    refused, goodbye = frame(RST_STREAM, 0, 1, REFUSED_STREAM.to_bytes(4)), frame(GOAWAY, 0, 0, bytes(8))
    for at, said in enumerate(((refused, goodbye), (goodbye, refused))):
        number = client.asks("/a", "POST")
        api = Http2Api(talk.upstream())
        api.upstream.says(frame(HEADERS, END_HEADERS, 1, OK) + frame(DATA, 0, 1, b"part"))
        api.upstream.says(*said)
        got = client.got(number)
        assert (got.status, got.body, got.is_whole) == (200, b"part", False)
        assert len(talk.upstreams) == at + 1
        assert talk.untouched


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("says", ["refused", "goodbye"])
def test_who_refuses_each_time_is_asked_no_more_than_a_few_times(
    talk: Conversation, method: str, says: str
) -> None:
    client = Http2Client(talk)
    number = client.asks("/a", method)
    api, seen = Http2Api(talk.upstream()), 0
    while not client.got(number).status and seen < 50:
        seen += 1
        if says == "refused":
            api.upstream.says(frame(RST_STREAM, 0, 2 * seen - 1, REFUSED_STREAM.to_bytes(4)))
        else:
            api.upstream.says(frame(GOAWAY, 0, 0, bytes(8)))
            if not client.got(number).status:
                api = Http2Api(talk.upstream())
    assert client.got(number).status == 502
    assert seen <= 12
    assert talk.outcomes == [("/a", 502, "upstream_broken")]


def test_goaways_that_rise_and_fall_end_each_request_once(talk: Conversation) -> None:
    client = Http2Client(talk)
    numbers = [client.asks(f"/{at}", "POST") for at in range(4)]
    api = Http2Api(talk.upstream())
    for last in (7, 3, 0x7FFF_FFFF, 1, 5):
        api.upstream.says(frame(GOAWAY, 0, 0, last.to_bytes(4) + bytes(4)))
    api.says(1, data=b"one")
    assert client.got(numbers[0]).body == b"one"
    again = Http2Api(talk.upstream())
    assert sorted(asked.value(":path") for asked in again.asked.values()) == ["/1", "/2", "/3"]
    for number in list(again.asked):
        again.says(number, 204)
    assert [client.got(number).status for number in numbers] == [200, 204, 204, 204]
    assert sorted(talk.outcomes) == [("/0", 200, ""), ("/1", 204, ""), ("/2", 204, ""), ("/3", 204, "")]


class Sink(asyncio.Transport):
    """Takes everything."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "it speaks no HTTP/2"),
        (frame(SETTINGS, 0, 0) + frame(PING, 0, 1, bytes(8)), "it ended the connection"),
        (
            frame(SETTINGS, 0, 0) + frame(HEADERS, 0, 1, OK) + frame(CONTINUATION, 0, 1) * 17,
            "it broke the rules of HTTP/2",
        ),
        (
            frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, OK * 250),
            "it broke the rules of HTTP/2",
        ),
    ],
)
def test_a_visit_says_what_is_wrong(sent: bytes, says: str) -> None:
    async def visits() -> str:
        visit = Visit()
        visit.connected(Sink())
        visit.ask([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")], b"")
        visit.receive(sent)
        with pytest.raises(VisitFailed) as failed:
            await visit.answered
        visit.leave()
        return str(failed.value)

    assert asyncio.run(visits()) == says
