"""Rules of RFC 9113 that the comparison with libnghttp2 or its fuzzing found broken: one claim each, frame by frame."""

from sidecar.http.message import Field
from sidecar.proxy.http2.engine import Http2Engine
from sidecar.proxy.http2.events import CANCEL, ENHANCE_YOUR_CALM, NO_ERROR, PROTOCOL_ERROR, Unheeded
from tests.support.http2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    OPENING,
    PING,
    PREFACE,
    SETTINGS,
    block,
    frame,
    request,
)
from tests.support.http2_reading import Reading

GET = block(request())


class Server(Unheeded):
    """Writes down what it is told, and takes all content at once."""

    def __init__(self, opening: bytes = OPENING, window: int = 65535) -> None:
        self.said: list[tuple[object, ...]] = []
        self.engine = Http2Engine(
            self, is_server=True, streams=10, window=window, header_bytes=4096, headers=50
        )
        self.reading = Reading()
        self.reads(opening)

    def reads(self, *sent: bytes) -> None:
        for each in sent:
            self.engine.receive(each)
            while self.engine.has_events:
                self.engine.deliver(1000)
            self.reading.read(self.engine.outgoing())

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        self.said.append(("head", stream, fields, ends))

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        self.engine.took(stream, len(data))

    def closed(self, stream: int, code: int) -> None:
        self.said.append(("closed", stream, code))


def test_a_head_without_fields_is_malformed() -> None:
    server = Server()
    server.reads(frame(HEADERS, END_HEADERS | END_STREAM, 1))
    assert server.said == [("closed", 1, PROTOCOL_ERROR)]
    server.reads(
        frame(HEADERS, END_HEADERS | END_STREAM, 3, GET), frame(HEADERS, END_HEADERS | END_STREAM, 5)
    )
    assert server.said[2:] == [("closed", 5, PROTOCOL_ERROR)]


def test_goaway_never_names_a_higher_stream_than_the_one_before() -> None:
    """RFC 9113 §6.8."""
    server = Server()
    server.reads(frame(HEADERS, END_HEADERS, 1, GET))
    server.engine.go_away()
    server.reads(frame(HEADERS, END_HEADERS, 3, GET))
    server.engine.go_away()
    server.engine.announce_end()
    server.reads(frame(HEADERS, END_HEADERS, 5, GET), frame(PING, 0, 1, bytes(8)))
    assert [last for last, _ in server.reading.goaways] == [1, 1, 1, 1]


def test_window_comes_back_when_the_initial_one_shrinks_below_what_was_used() -> None:
    """RFC 9113 §6.9.2: the client sent by its default of 65,535 bytes, which makes a window of -14,464 of 16,384."""
    server = Server(PREFACE + frame(SETTINGS, 0, 0), window=16384)
    server.reads(
        frame(HEADERS, END_HEADERS, 1, GET), frame(DATA, 0, 1, bytes(15000)), frame(DATA, 0, 1, bytes(15000))
    )
    assert server.reading.windows.get(1, 0) == 0, "less than half of what it knows"
    server.reads(frame(SETTINGS, ACK, 0))
    assert 16384 - 30000 + server.reading.windows[1] > 0


def test_a_setting_of_priorities_is_0_or_1_and_never_changes() -> None:
    """RFC 9218 §2.1."""
    for first, second in (((2,), ()), ((1,), (0,)), ((), (1,)), ((0, 1), (0,))):
        server = Server(PREFACE + frame(SETTINGS, 0, 0, _priorities(first)))
        server.reads(frame(SETTINGS, 0, 0, _priorities(second)))
        assert server.reading.goaways == [(0, PROTOCOL_ERROR)], (first, second)
    server = Server(PREFACE + frame(SETTINGS, 0, 0, _priorities((1,))))
    server.reads(frame(SETTINGS, 0, 0), frame(SETTINGS, 0, 0, _priorities((1,))))
    assert server.reading.goaways == []


def _priorities(values: tuple[int, ...]) -> bytes:
    return b"".join(b"\0\x09" + value.to_bytes(4) for value in values)


def test_a_frame_has_so_many_settings_that_each_may_be_work_for_all_streams() -> None:
    window = b"\0\x04\0\0\0\1"
    server = Server()
    server.reads(frame(SETTINGS, 0, 0, 32 * window))
    assert server.reading.acknowledged == 2
    server.reads(frame(SETTINGS, 0, 0, 33 * window))
    assert server.reading.goaways == [(0, ENHANCE_YOUR_CALM)]


def test_trailers_that_only_http1_knows_are_malformed() -> None:
    """RFC 9113 §8.2.2."""
    for name, value in ((b"connection", b"x"), (b"transfer-encoding", b"chunked"), (b"te", b"gzip")):
        server = Server()
        server.reads(frame(HEADERS, END_HEADERS, 1, GET))
        server.reads(frame(HEADERS, END_HEADERS | END_STREAM, 1, block([(name, value)])))
        assert server.said[1:] == [("closed", 1, PROTOCOL_ERROR)]


class Client(Unheeded):
    """Resets each stream as it ends."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int]] = []
        self.engine = Http2Engine(
            self, is_server=False, streams=0, window=65535, header_bytes=4096, headers=50
        )
        self.reading = Reading()
        self.reads(frame(SETTINGS, 0, 0))

    def reads(self, *sent: bytes) -> None:
        for each in sent:
            self.engine.receive(each)
            while self.engine.has_events:
                self.engine.deliver(1000)
            self.reading.read(self.engine.outgoing())

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        if ends:
            self.engine.reset(stream, CANCEL)

    def closed(self, stream: int, code: int) -> None:
        self.said.append((stream, code))


def test_a_stream_that_has_ended_both_ways_is_not_reset() -> None:
    """RFC 9113 §5.1: nothing but PRIORITY may be sent on a closed stream."""
    client = Client()
    assert client.engine.request(request(), ends=True) == 1
    client.reads(frame(HEADERS, END_HEADERS | END_STREAM, 1, block([(b":status", b"204")])))
    assert client.said == [(1, NO_ERROR)]
    assert client.reading.streams[1].reset is None


def test_content_before_a_head_costs_its_stream_and_no_other() -> None:
    """RFC 9113 §8.1.1; its bytes are given back to the connection."""
    client = Client()
    assert [client.engine.request(request(), ends=True) for _ in range(2)] == [1, 3]
    client.reads(*[frame(DATA, 0, 1, bytes(16384))] * 2, frame(DATA, 0, 1))
    assert client.said == [(1, PROTOCOL_ERROR)]
    assert client.reading.windows == {0: 32768}
    client.reads(frame(HEADERS, END_HEADERS | END_STREAM, 3, block([(b":status", b"204")])))
    assert client.said[1:] == [(3, NO_ERROR)]
