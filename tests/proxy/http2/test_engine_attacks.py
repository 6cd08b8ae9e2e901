"""What a hostile peer sends to an engine: published attacks on HTTP/2, and what they cost.

The allowance of a client is claimed in `test_floods.py`, the turns in `test_fairness.py`.
"""

import sys
import tracemalloc
from types import FrameType

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from sidecar.http.message import Field
from sidecar.proxy.http2.engine import Http2Engine, Http2Failure
from sidecar.proxy.http2.events import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    Unheeded,
)
from sidecar.proxy.http2.huffman import decode_huffman
from sidecar.proxy.http2.messages import urgency_of
from sidecar.proxy.http2.streams import NORMAL
from tests.support.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    OPENING,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    asked,
    block,
    frame,
    request,
)
from tests.support.http2_reading import Reading

PADDED = 8
STREAMS = 100
LISTED = 4096 + 50 * 32
"""Bytes of a field list within the limits."""
POST = block(request("/a", "POST"))
ANSWER: list[Field] = [(b":status", b"200")]


class Victim(Unheeded):
    """An engine, and what it was told; what it sends is read frame by frame."""

    def __init__(self, opening: bytes = OPENING, *, window: int = 65535) -> None:
        self.heads: list[int] = []
        self.content: dict[int, bytes] = {}
        self.ends: list[int] = []
        self.over: list[tuple[int, int]] = []
        self.frames_for_nothing = 0
        self.end: int | None = None
        self.takes = True
        self.engine = Http2Engine(
            self, is_server=True, streams=STREAMS, window=window, header_bytes=4096, headers=50
        )
        self.reading = Reading()
        self.reads(opening)
        self.frames_for_nothing = 0

    def reads(self, *sent: bytes) -> None:
        """Each piece by itself."""
        for each in sent:
            self.engine.receive(each)
            while self.engine.has_events:
                self.engine.deliver(1000)
            self.says()

    def says(self) -> bytes:
        """What it sends."""
        said = self.engine.outgoing()
        self.reading.read(said)
        return said

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        self.heads.append(stream)

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        self.content[stream] = self.content.get(stream, b"") + data
        if ends:
            self.ends.append(stream)
        if self.takes:
            self.engine.took(stream, len(data))

    def closed(self, stream: int, code: int) -> None:
        self.over.append((stream, code))

    def noise(self, *, of_window: int) -> None:
        self.frames_for_nothing += 1

    def ended(self, code: int, detail: str) -> None:
        self.end = code


def client() -> tuple[Http2Engine, Victim]:
    """The other role, with the opening of a server."""
    told = Victim()
    engine = Http2Engine(told, is_server=False, streams=0, window=65535, header_bytes=4096, headers=50)
    engine.receive(frame(SETTINGS, 0, 0))
    engine.deliver(100)
    engine.outgoing()
    return engine, told


def opened(victim: Victim, numbers: range) -> None:
    """Requests whose answers have content that waits for a window."""
    for number in numbers:
        victim.reads(asked(request(), number))
        victim.engine.respond(number, ANSWER, ends=False)
        victim.engine.send(number, b"x" * 1000, ends=False)
    victim.says()


def setting(name: int, value: int) -> bytes:
    return name.to_bytes(2) + value.to_bytes(4)


# --- SETTINGS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [1, 3, 4, 6, 0x7777])
def test_settings_are_no_more_than_there_can_be_in_earnest(name: int) -> None:
    """CVE-2020-11080: one frame has room for 2,730, and is one frame for whoever counts frames."""
    victim = Victim()
    victim.reads(frame(SETTINGS, 0, 0, setting(name, 1) * 32))
    assert victim.end is None
    victim.reads(frame(SETTINGS, 0, 0, setting(name, 1) * 33))
    assert victim.end == ENHANCE_YOUR_CALM
    engine, told = client()
    engine.receive(frame(SETTINGS, 0, 0, setting(name, 1) * 2730))
    engine.deliver(100)
    assert told.end == ENHANCE_YOUR_CALM


def test_of_the_windows_in_one_frame_the_last_holds() -> None:
    victim = Victim(OPENING + frame(SETTINGS, 0, 0, setting(4, 0)))
    opened(victim, range(1, 21, 2))
    victim.reads(frame(SETTINGS, 0, 0, (setting(4, 999) + setting(4, 0)) * 15 + setting(4, 7)))
    assert [len(victim.reading.streams[number].content) for number in range(1, 21, 2)] == [7] * 10


@pytest.mark.parametrize("at", [0, 1, 2])
def test_no_window_of_a_frame_may_be_too_large(at: int) -> None:
    values = [setting(4, 1)] * 3
    values[at] = setting(4, 1 << 31)
    victim = Victim()
    victim.reads(frame(SETTINGS, 0, 0, b"".join(values)))
    assert victim.end == FLOW_CONTROL_ERROR


@pytest.mark.parametrize(("value", "end"), [(0, None), (1, None), (2, PROTOCOL_ERROR)])
def test_a_setting_that_is_yes_or_no_is_nothing_else(value: int, end: int | None) -> None:
    """RFC 9218 §2.1, RFC 9113 §6.5.2."""
    for name in (2, 9):
        victim = Victim(PREFACE + frame(SETTINGS, 0, 0, setting(name, value)))
        assert victim.end == end


# --- work for few bytes ------------------------------------------------------------------------------


def test_a_priority_of_many_parts_is_not_read() -> None:
    """The table of header compression repeats it at a byte each time."""
    assert urgency_of(b"u=1, i") == 1
    assert urgency_of(b"u=1" + b"," * 61) == 1
    assert urgency_of(b"u=1" + b"," * 62) == NORMAL
    assert urgency_of(b"," * 4000 + b"u=1") == NORMAL


@pytest.mark.parametrize("text", [b"a", b"Z{", b"\x7f\xf0", b"0\xff"])
def test_a_long_huffman_string_takes_no_longer_a_byte_than_a_short_one(text: bytes) -> None:
    """Bits that were decoded are not shifted on. (Compiled code has machine words, and no frames.)"""
    widest = 0

    def look(frame: FrameType, event: str, _: object) -> object:
        nonlocal widest
        widest = max(widest, frame.f_locals.get("bits", 0).bit_length())
        return look if frame.f_code.co_name == "decode_huffman" else None

    coded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text * 2000)
    before = sys.gettrace()
    sys.settrace(look)  # type: ignore[arg-type] # a tracer that returns itself
    try:
        decoded = decode_huffman(coded)
    finally:
        sys.settrace(before)
    assert decoded == text * 2000
    assert widest <= 63


# --- memory ------------------------------------------------------------------------------------------


def reads_again_and_again(victim: Victim, piece: bytes) -> None:
    for _ in range(100):
        victim.reads(bytes(bytearray(piece)))


@pytest.mark.parametrize("size", [1, 500, 16_384])
def test_of_a_field_block_no_more_is_kept_than_the_limits_allow(size: int) -> None:
    """The family of CVE-2024-27316: frames of a head that has no end."""
    victim = Victim()
    piece = frame(CONTINUATION, 0, 1, b"x" * size)
    victim.reads(frame(HEADERS, 0, 1, b"x" * size))
    tracemalloc.start()
    with pytest.raises(Http2Failure, match=r"CONTINUATION|block"):
        reads_again_and_again(victim, piece)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2 * LISTED + 4 * 16_384 + 40_000
    assert victim.engine.outgoing() == b""
    assert not victim.engine.has_events


def test_a_head_of_twice_the_limit_in_many_frames_is_still_decoded() -> None:
    victim = Victim()
    head = block([*request(), *((b"x", b"y" * 1000) for _ in range(9))])
    pieces = [head[at : at + 700] for at in range(0, len(head), 700)]
    victim.reads(frame(HEADERS, END_STREAM, 1, pieces[0]))
    victim.reads(*(frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:-1]))
    victim.reads(frame(CONTINUATION, END_HEADERS, 1, pieces[-1]))
    assert victim.heads == [1]


def test_content_in_small_pieces_that_waits_for_a_window_needs_little_more_than_its_bytes() -> None:
    """CVE-2019-9517, with an API that sends a few bytes at a time."""
    victim = Victim(OPENING + frame(SETTINGS, 0, 0, setting(4, 0)))
    victim.reads(asked(request()))
    victim.engine.respond(1, ANSWER, ends=False)
    tracemalloc.start()
    for at in range(30_000):
        victim.engine.send(1, b"%02d" % (at % 100), ends=False)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert victim.engine.waiting(1) == 60_000
    assert held < 150_000  # an object for each piece would be over a million
    victim.reads(*[frame(WINDOW_UPDATE, 0, 1, (15_000).to_bytes(4))] * 4)
    assert victim.reading.streams[1].content == b"".join(b"%02d" % (at % 100) for at in range(30_000))


def test_what_is_sent_is_counted_without_the_frames_around_it() -> None:
    """CVE-2019-9511: a byte of content in a frame for each stream. Who counts those bytes counts no headers."""
    victim = Victim(OPENING + frame(SETTINGS, 0, 0, setting(4, 0)))
    opened(victim, range(1, 21, 2))
    victim.engine.sent = 0
    victim.reads(frame(SETTINGS, 0, 0, setting(4, 1)), frame(WINDOW_UPDATE, 0, 3, b"\0\0\0\2"))
    assert victim.engine.sent == 12


# --- frames for nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        frame(GOAWAY, 0, 0, bytes(8)),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, POST),
        frame(DATA, 0, 1),
        frame(DATA, PADDED, 1, b"\x05" + bytes(5)),
        frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
        frame(RST_STREAM, 0, 1, bytes(4)),
        frame(0x77, 0xFF, 5, b"?"),
    ],
)
def test_a_frame_of_a_stream_that_is_over_is_counted(sent: bytes) -> None:
    class Counts(Victim):
        def goaway(self, last: int, code: int) -> None:
            self.frames_for_nothing += 1

        def reset(self, stream: int, code: int) -> None:
            self.frames_for_nothing += 1

    victim = Counts()
    victim.reads(frame(HEADERS, END_HEADERS, 3, POST), asked(request(), 5))
    victim.engine.respond(5, ANSWER, ends=True)
    victim.says()
    victim.reads(*[sent] * 50)
    assert victim.frames_for_nothing == 50
    assert victim.end is None
    assert not victim.reading.goaways


def test_requests_after_goaway_are_counted_and_nobody_is_told_of_them() -> None:
    victim = Victim()
    victim.reads(frame(HEADERS, END_HEADERS, 1, POST))
    victim.engine.go_away()
    victim.reads(*(asked(request(), number) for number in range(3, 103, 2)))
    assert victim.heads == [1]
    assert victim.frames_for_nothing == 50
    assert victim.reading.goaways == [(1, NO_ERROR)]
    victim.reads(frame(PING, 0, 1, bytes(8)))
    assert victim.reading.goaways[1:] == [(1, PROTOCOL_ERROR)], "never more than before"


# --- what the standard says of frames at the limits --------------------------------------------------


def test_the_end_of_content_needs_no_window() -> None:
    """RFC 9113 §6.9.1. The window is below 0: all of the default one was used before the settings were known."""
    victim = Victim(OPENING[: -len(frame(SETTINGS, ACK, 0))], window=16_000)
    victim.takes = False
    victim.reads(frame(HEADERS, END_HEADERS, 1, POST), frame(DATA, 0, 1, b"x" * 16_384) * 3)
    victim.reads(frame(SETTINGS, ACK, 0), frame(DATA, END_STREAM, 1))
    assert victim.ends == [1]
    assert not victim.over
    victim.reads(frame(HEADERS, END_HEADERS, 3, POST), frame(DATA, 0, 3, b"x" * 16_000))
    assert victim.reading.streams == {}
    victim.reads(frame(DATA, 0, 3, b"x"))
    assert victim.over == [(3, FLOW_CONTROL_ERROR)]


def test_padded_content_is_taken_whole_and_the_next_frame_is_found() -> None:
    victim = Victim()
    padded = [bytes((size,)) + b"%d," % size + bytes(size) for size in (0, 1, 7, 255)]
    sent = b"".join(frame(DATA, PADDED, 1, each) for each in padded)
    victim.reads(frame(HEADERS, END_HEADERS, 1, POST))
    victim.reads(sent + frame(PING, 0, 0, b"12345678") + frame(DATA, END_STREAM | PADDED, 1, b"\3zz\0\0\0"))
    assert victim.content[1] == b"0,1,7,255,zz"
    assert victim.ends == [1]
    assert victim.reading.pongs == [b"12345678"]
    victim = Victim()
    victim.reads(frame(HEADERS, END_HEADERS, 1, POST))
    for byte in sent:
        victim.reads(bytes((byte,)))
    assert victim.content[1] == b"0,1,7,255,"


def test_padding_gives_its_window_back() -> None:
    victim = Victim()
    victim.reads(frame(HEADERS, END_HEADERS, 1, POST))
    victim.reads(*[frame(DATA, PADDED, 1, b"\xff" + bytes(255))] * 256)
    assert victim.end is None
    assert not victim.over
    assert min(victim.reading.windows[0], victim.reading.windows[1]) >= 32_768


@pytest.mark.parametrize("kind", [DATA, HEADERS])
@pytest.mark.parametrize(
    ("payload", "code"), [(b"", FRAME_SIZE_ERROR), (b"\1", PROTOCOL_ERROR), (b"\4abc", PROTOCOL_ERROR)]
)
def test_padding_is_less_than_its_frame(kind: int, payload: bytes, code: int) -> None:
    """RFC 9113 §4.2, §6.1, §6.2."""
    victim = Victim()
    victim.reads(frame(HEADERS, END_HEADERS, 1, POST))
    victim.reads(frame(kind, PADDED | END_HEADERS, 1, payload))
    assert victim.end == code


def test_a_reset_is_answered_with_nothing() -> None:
    """RFC 9113 §5.4.2, whatever the receiver of the event does."""

    class Answers(Victim):
        def reset(self, stream: int, code: int) -> None:
            self.engine.took(stream, 40_000)
            self.engine.respond(stream, ANSWER, ends=False)
            self.engine.send(stream, b"x", ends=True)
            self.engine.reset(stream, CANCEL)

    victim = Answers()
    victim.takes = False
    victim.reads(frame(HEADERS, END_HEADERS, 1, POST), frame(DATA, 0, 1, b"x" * 10_000) * 4)
    victim.reads(frame(RST_STREAM, 0, 1, CANCEL.to_bytes(4)))
    assert victim.over == [(1, CANCEL)]
    assert victim.reading.streams == {}
    assert list(victim.reading.windows) == [0]


# --- the end of a connection -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [frame(PING, 0, 1, bytes(8)), frame(DATA, 0, 0, b"x"), frame(HEADERS, 5, 7, b"\xff")]
)
def test_no_request_behind_an_error_of_the_connection_is_told(wrong: bytes) -> None:
    victim = Victim()
    victim.reads(asked(request(), 1) + asked(request(), 3) + wrong + asked(request(), 9))
    victim.reads(asked(request(), 11))
    assert victim.heads == [1, 3]
    assert victim.end is not None
    assert victim.reading.goaways == [(3, victim.end)]


def test_a_client_that_is_sent_away_knows_which_requests_may_have_been_processed() -> None:
    """RFC 9113 §6.8: those above the last stream may be sent again, elsewhere."""
    victim = Victim()
    victim.reads(asked(request(), 1), asked(request(), 5))
    victim.engine.stop()
    victim.reading.read(victim.engine.farewell(ENHANCE_YOUR_CALM))
    assert victim.reading.goaways == [(5, ENHANCE_YOUR_CALM)]


@pytest.mark.parametrize("event", ["head", "data", "closed", "noise"])
def test_a_fault_of_the_receiver_leaves_the_engine_as_it_is(event: str) -> None:
    """Its owner ends the connection; until then nothing is told twice, and no frame is read in the middle."""

    class Fails(Victim):
        failed = False

        def _fail(self, what: str) -> None:
            if what == event and not self.failed:
                self.failed = True
                raise ZeroDivisionError

        def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
            super().head(stream, fields, ends=ends)
            self._fail("head")

        def data(self, stream: int, data: bytes, *, ends: bool) -> None:
            super().data(stream, data, ends=ends)
            self._fail("data")

        def closed(self, stream: int, code: int) -> None:
            super().closed(stream, code)
            self._fail("closed")

        def noise(self, *, of_window: int) -> None:
            super().noise(of_window=of_window)
            self._fail("noise")

    victim = Fails()
    malformed = frame(HEADERS, 5, 3, block([*request(), (b"X", b"y")]))
    sent = (
        frame(HEADERS, END_HEADERS, 1, POST) + frame(DATA, 0, 1, b"ab") + malformed
        + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1") + frame(DATA, END_STREAM, 1, b"c") + asked(request(), 5)
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        victim.reads(sent)
    victim.reads(b"")
    assert victim.heads == [1, 5]
    assert victim.content == {1: b"abc"}
    assert victim.over == [(3, PROTOCOL_ERROR)]


def test_streams_that_a_client_opens_before_it_knows_the_settings_are_refused_as_unprocessed() -> None:
    victim = Victim(OPENING[: -len(frame(SETTINGS, ACK, 0))])
    victim.reads(*(frame(HEADERS, END_HEADERS, number, POST) for number in range(1, 2 * STREAMS + 7, 2)))
    assert len(victim.heads) == STREAMS
    assert victim.over == [(number, REFUSED_STREAM) for number in (201, 203, 205)]


@pytest.mark.parametrize("stops_at", [1, 2, 5])
def test_who_stops_the_engine_is_told_nothing_more(stops_at: int) -> None:
    """Several streams may have ended at once, and the end of one may be one too many."""

    class Stops(Victim):
        def closed(self, stream: int, code: int) -> None:
            super().closed(stream, code)
            if len(self.over) == stops_at:
                self.engine.stop()

    victim = Stops()
    victim.reads(*(asked(request(), number) for number in range(1, 21, 2)))
    for number in range(1, 21, 2):
        victim.engine.respond(number, ANSWER, ends=True)
    victim.engine.deliver(1000)
    assert len(victim.over) == stops_at
    assert not victim.engine.has_events


def test_a_fault_of_a_receiver_keeps_no_end_of_another_stream_from_it() -> None:
    """Several streams may have ended at once; each is told once."""

    class Fails(Victim):
        def closed(self, stream: int, code: int) -> None:
            super().closed(stream, code)
            if stream in (1, 5):
                raise ZeroDivisionError

    victim = Fails()
    numbers = range(1, 13, 2)
    victim.reads(*(asked(request(), number) for number in numbers))
    for number in numbers:
        victim.engine.respond(number, ANSWER, ends=True)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            victim.engine.deliver(1000)
        assert victim.engine.has_events
    victim.engine.deliver(1000)
    assert victim.over == [(number, NO_ERROR) for number in numbers]
    assert not victim.engine.has_events
