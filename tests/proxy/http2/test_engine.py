"""The one module that knows the HTTP/2 library, both roles of it, talking to each other and to spoilt frames."""

from collections.abc import Callable

import pytest

from sidecar.http.message import Field
from sidecar.proxy.http2.engine import HEAD_WORK, Http2Engine, Http2Failure
from sidecar.proxy.http2.events import CANCEL, NO_ERROR, PROTOCOL_ERROR, Http2Events

REQUEST: list[Field] = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":path", b"/a"),
    (b":authority", b"api"),
]
RESPONSE: list[Field] = [(b":status", b"200")]
WINDOW = 65536


class Heard(Http2Events):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []
        self.on_head: Callable[[int], None] = lambda _stream: None

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        self.said.append(("head", stream, dict(fields), ends))
        self.on_head(stream)

    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        self.said.append(("interim", stream, dict(fields)))

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        self.said.append(("data", stream, data, ends))

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        self.said.append(("trailers", stream, dict(fields)))

    def reset(self, stream: int, code: int) -> None:
        self.said.append(("reset", stream, code))

    def closed(self, stream: int, code: int) -> None:
        self.said.append(("closed", stream, code))

    def goaway(self, last: int, code: int) -> None:
        self.said.append(("goaway", last, code))

    def settled(self, streams: int) -> None:
        self.said.append(("settled", streams))

    def pong(self) -> None:
        self.said.append(("pong",))

    def noise(self, *, of_window: int) -> None:
        self.said.append(("noise", of_window))

    def ended(self, code: int, detail: str) -> None:
        self.said.append(("ended", code, detail))

    def take(self) -> list[tuple[object, ...]]:
        said, self.said = self.said, []
        return said


class Pair:
    """A client and a server, and the bytes between them."""

    def __init__(self) -> None:
        self.client_heard, self.server_heard = Heard(), Heard()
        self.client = Http2Engine(
            self.client_heard, is_server=False, streams=0, window=WINDOW, header_bytes=8192, headers=50
        )
        self.server = Http2Engine(
            self.server_heard, is_server=True, streams=7, window=WINDOW, header_bytes=8192, headers=50
        )
        self.pump()
        self.first = (self.client_heard.take(), self.server_heard.take())

    def pump(self) -> None:
        """Until neither has anything to say."""
        while True:
            sent, answered = self.client.outgoing(), self.server.outgoing()
            if sent:
                self.server.receive(sent)
            if answered:
                self.client.receive(answered)
            self.client.deliver(1000)
            self.server.deliver(1000)
            if not sent and not answered:
                return


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_a_server_says_how_many_streams_it_allows_and_a_client_takes_no_push(pair: Pair) -> None:
    assert pair.first == ([("settled", 7)], [("settled", -1)])


def test_request_and_response_pass_with_content_and_trailers(pair: Pair) -> None:
    stream = pair.client.request(REQUEST, ends=False)
    pair.client.send(stream, b"abc", ends=False)
    pair.client.trail(stream, [(b"x-sum", b"1")])
    pair.pump()
    assert pair.server_heard.take() == [
        ("head", stream, dict(REQUEST), False),
        ("data", stream, b"abc", False),
        ("trailers", stream, {b"x-sum": b"1"}),
    ]
    pair.server.inform(stream, [(b":status", b"103")])
    pair.server.respond(stream, RESPONSE, ends=False)
    pair.server.send(stream, b"de", ends=False)
    pair.server.send(stream, b"f", ends=True)
    pair.pump()
    told = pair.client_heard.take()
    assert told[:2] == [("interim", stream, {b":status": b"103"}), ("head", stream, dict(RESPONSE), False)]
    assert b"".join(bytes(each[2]) for each in told if each[0] == "data") == b"def"  # type: ignore[call-overload]
    assert told[-1] == ("closed", stream, NO_ERROR)
    assert pair.server_heard.take() == [("closed", stream, NO_ERROR)]


def test_no_more_is_told_at_once_than_the_work_allows(pair: Pair) -> None:
    for _ in range(3):
        pair.client.request(REQUEST, ends=True)
    pair.server.receive(pair.client.outgoing())
    left = pair.server.deliver(HEAD_WORK + 1)
    assert len(pair.server_heard.take()) == 2
    assert left <= 0
    assert pair.server.has_events
    assert pair.server.deliver(100) == 100 - HEAD_WORK
    assert not pair.server.has_events


def test_events_that_come_of_an_answer_are_told_in_their_turn(pair: Pair) -> None:
    def answer(stream: int) -> None:
        pair.server.respond(stream, RESPONSE, ends=True)
        pair.server.outgoing()

    pair.server_heard.on_head = answer
    pair.client.request(REQUEST, ends=True)
    pair.client.request(REQUEST, ends=True)
    pair.server.receive(pair.client.outgoing())
    pair.server.deliver(100)
    assert [each[:2] for each in pair.server_heard.take()] == [
        ("head", 1),
        ("closed", 1),
        ("head", 3),
        ("closed", 3),
    ]


def test_content_waits_for_the_peers_window(pair: Pair) -> None:
    stream = pair.client.request(REQUEST, ends=False)
    pair.client.send(stream, b"x" * 3 * WINDOW, ends=True)
    pair.pump()
    assert pair.client.waiting(stream) >= WINDOW
    for told in pair.server_heard.take():
        if told[0] == "data":
            pair.server.took(stream, len(bytes(told[2])))  # type: ignore[call-overload]
    before = pair.client.waiting(stream)
    pair.pump()
    assert pair.client.waiting(stream) < before
    assert pair.client_heard.take()[0][0] == "noise"


def test_content_of_a_stream_that_is_over_can_still_be_taken(pair: Pair) -> None:
    pair.server.widen(WINDOW)
    for _ in range(8):  # more than the connection's window, were nothing given back
        stream = pair.client.request(REQUEST, ends=False)
        pair.client.send(stream, b"x" * 30000, ends=True)
        pair.pump()
        sizes = [len(bytes(each[2])) for each in pair.server_heard.take() if each[0] == "data"]  # type: ignore[call-overload]
        assert sum(sizes) == 30000
        pair.server.reset(stream, CANCEL)
        pair.pump()
        for size in sizes:
            pair.server.took(stream, size)
        pair.pump()


def test_reset_is_told_and_what_is_said_of_a_closed_stream_comes_to_nothing(pair: Pair) -> None:
    stream = pair.client.request(REQUEST, ends=False)
    pair.pump()
    pair.client.reset(stream, CANCEL)
    pair.pump()
    assert pair.server_heard.take()[1:] == [("reset", stream, CANCEL), ("closed", stream, CANCEL)]
    pair.server.respond(stream, RESPONSE, ends=False)
    pair.server.inform(stream, [(b":status", b"103")])
    pair.server.send(stream, b"x", ends=False)
    pair.server.trail(stream, [(b"x", b"y")])
    pair.server.reset(stream, CANCEL)
    assert pair.server.waiting(stream) == 0
    pair.pump()
    assert pair.client_heard.take() == [("closed", stream, CANCEL)]


def test_a_round_trip_and_an_announced_end(pair: Pair) -> None:
    stream = pair.client.request(REQUEST, ends=False)
    pair.pump()
    pair.server_heard.take()
    pair.server.announce_end()
    pair.pump()  # or PING would overtake GOAWAY
    pair.server.ping()
    pair.pump()
    assert pair.client_heard.take() == [("goaway", 2**31 - 1, NO_ERROR), ("noise", 0)]
    assert pair.server_heard.take() == [("pong",)]
    assert pair.client.request(REQUEST, ends=True) == 0, "no stream begins after GOAWAY"
    pair.server.go_away()
    pair.server.respond(stream, RESPONSE, ends=True)
    pair.client.send(stream, b"", ends=True)
    pair.pump()
    assert pair.client_heard.take()[0] == ("goaway", stream, NO_ERROR)


def test_a_malformed_head_closes_its_stream_and_no_head_is_told_of(pair: Pair) -> None:
    block = b"\x82\x87\x84" + b"\0\3X-A\1b"
    pair.server.receive(frame(1, 5, 1, block))
    pair.server.deliver(100)
    assert pair.server.outgoing()[3] == 3, "RST_STREAM"
    assert pair.server_heard.take() == [("closed", 1, PROTOCOL_ERROR)]


def test_a_malformed_head_is_told_of_within_the_work_of_its_frame(pair: Pair) -> None:
    """Its receiver learns of it in no other way, and its peer may be gone by the next turn."""
    pair.server.receive(frame(1, 5, 1, b"\x82\x87\x84" + b"\0\3X-A\1b"))
    assert pair.server.deliver(HEAD_WORK) == 0
    assert pair.server_heard.take() == [("closed", 1, PROTOCOL_ERROR)]


def test_a_fault_of_the_connection_ends_it_with_a_last_word(pair: Pair) -> None:
    pair.server.receive(frame(8, 0, 0, bytes(4)))
    pair.server.deliver(100)
    assert pair.server.outgoing()[3] == 7, "GOAWAY"
    ((kind, code, detail),) = pair.server_heard.take()
    assert (kind, code) == ("ended", PROTOCOL_ERROR)
    assert "window_size_increment" in str(detail)


def test_a_fault_of_the_connection_is_told_of_within_the_work_of_its_frame(pair: Pair) -> None:
    """Its peer may be gone by the next turn, and nobody would know of it."""
    pair.server.receive(frame(8, 0, 0, bytes(4)))
    assert pair.server.deliver(1) == 0
    ((kind, code, _),) = pair.server_heard.take()
    assert (kind, code) == ("ended", PROTOCOL_ERROR)
    assert not pair.server.has_events


def test_what_is_no_http2_is_a_failure_and_nothing_can_be_said_after_it() -> None:
    heard = Heard()
    server = Http2Engine(heard, is_server=True, streams=7, window=WINDOW, header_bytes=8192, headers=50)
    server.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    for _ in range(2):
        with pytest.raises(Http2Failure, match="preface"):
            server.deliver(100)
    server.announce_end()
    server.go_away()
    server.ping()
    assert server.outgoing() == b""
    assert server.farewell(PROTOCOL_ERROR) == frame(7, 0, 0, bytes(4) + PROTOCOL_ERROR.to_bytes(4))


def test_a_head_of_twice_the_limit_is_a_failure_after_what_came_before(pair: Pair) -> None:
    pair.client.request(REQUEST, ends=True)
    data = pair.client.outgoing()
    block = b"\x82\x87\x84" + b"".join(b"\0\1a\x7f\x01" + b"x" * 128 for _ in range(120))
    pair.server.receive(data + frame(1, 5, 3, block))
    with pytest.raises(Http2Failure, match="count"):
        pair.server.deliver(100)
    assert pair.server_heard.take()[0][:2] == ("head", 1)
