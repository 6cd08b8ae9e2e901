"""Frames of a client of HTTP/2, or of a server: what the engine makes of them is told in order, no request brings a
line end, no more is sent than the windows allow, and all windows come back.
"""

from contextlib import suppress
from itertools import chain

from sidecar.http import intake
from sidecar.http.fields import FieldRules, RequestFields
from sidecar.http.http2_request import HeadReader, Http2Request, read_request
from sidecar.http.http2_trailers import read_trailers
from sidecar.http.message import Fault, Field
from sidecar.proxy.http2.engine import Http2Engine, Http2Failure
from sidecar.proxy.http2.events import CANCEL, NO_ERROR, Unheeded
from tests.fuzz.http2_ledger import Ledger, has_all_windows
from tests.support.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    OPENING,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    request,
)

_GET = block(request("/a?b", "GET", (b"cookie", b"a=1"), (b"authorization", b"Bearer a.b.c")))
_POST = block(request("/a", "POST", (b"content-length", b"3"), (b"te", b"trailers")))
SEEDS = [
    frame(HEADERS, 5, 1, _GET),
    frame(HEADERS, 4, 1, _POST) + frame(DATA, 1, 1, b"abc"),
    frame(HEADERS, 4, 1, _POST[:-9]) + frame(DATA, 0, 1, b"abc") + frame(HEADERS, 5, 1, block([(b"x-sum", b"1")])),
    frame(HEADERS, 1, 1, _GET[:30]) + frame(CONTINUATION, 4, 1, _GET[30:]),
    frame(HEADERS, 5, 1, b"\x82\x87\x84\x41\x03api\x40\x01a\x01b") + frame(HEADERS, 5, 3, b"\x82\x87\x84\xbf\xbe"),
    frame(SETTINGS, 0, 0, b"\0\4\0\0\0\1") + frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") + frame(PING, 0, 0, bytes(8)),
    frame(HEADERS, 0x2C, 1, b"\2\0\0\0\0\7" + _POST + b"\0\0") + frame(PRIORITY, 0, 1, b"\0\0\0\0\1"),
    frame(HEADERS, 4, 1, _POST) + frame(RST_STREAM, 0, 1, bytes(4)) + frame(GOAWAY, 0, 0, bytes(8)),
    frame(0x10, 0, 0, b"\0\0\0\1u=1,i") + frame(0x77, 0xFF, 9, b"?"),
]  # fmt: skip
_OK = block([(b":status", b"200"), (b"content-length", b"3")])
RESPONSES = [
    frame(HEADERS, 4, 1, _OK) + frame(DATA, 1, 1, b"abc") + frame(HEADERS, 5, 3, block([(b":status", b"204")])),
    frame(HEADERS, 4, 1, block([(b":status", b"103")])) + frame(HEADERS, 5, 1, block([(b":status", b"200")])),
    frame(HEADERS, 4, 5, _OK) + frame(DATA, 8, 5, b"\1abc\0") + frame(HEADERS, 5, 5, block([(b"x", b"1")])),
    frame(RST_STREAM, 0, 3, bytes(4)) + frame(GOAWAY, 0, 0, b"\0\0\0\5\0\0\0\0") + frame(DATA, 0, 3, b"abc"),
    frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0") + frame(WINDOW_UPDATE, 0, 9, b"\0\0\0\1") + frame(DATA, 0, 1),
]  # fmt: skip
_TAKES_LITTLE = frame(SETTINGS, 0, 0, b"\0\4\0\0\0\1")
_URGENT = block([*request("/a", "POST"), (b"priority", b"u=1, i")])
WRITING = [
    _TAKES_LITTLE + b"".join(frame(HEADERS, 5, number, _GET) for number in (1, 3, 5, 7))
    + b"".join(frame(WINDOW_UPDATE, 0, number, b"\0\0\0\1") for number in (1, 3, 1, 7)),
    _TAKES_LITTLE + frame(HEADERS, 5, 1, _GET) + frame(HEADERS, 5, 3, _URGENT) + frame(HEADERS, 5, 9, _URGENT)
    + frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0") + frame(RST_STREAM, 0, 3, bytes(4))
    + frame(SETTINGS, 0, 0, b"\0\4\0\1\0\0"),
    frame(HEADERS, 5, 1, _GET) + frame(SETTINGS, 0, 0, b"\0\1\0\0\0\0") + frame(HEADERS, 5, 3, _GET)
    + frame(SETTINGS, 0, 0, b"\0\1\0\0\0\x40\0\1\0\0\0\x60") + frame(HEADERS, 5, 9, _GET),
    frame(HEADERS, 4, 1, _GET) + frame(HEADERS, 5, 3, _GET) + frame(DATA, 0, 1, b"abc") + frame(DATA, 1, 1)
    + frame(WINDOW_UPDATE, 0, 0, b"\0\1\0\0"),
]  # fmt: skip
_CLIENT, _WRITES = 0x40, 0x80
"""Bits of the first byte: the engine is a client; it has much to send."""
SEEDS = [
    *(b"\0" + each for each in SEEDS),
    *(bytes((_CLIENT | writes,)) + each for each in RESPONSES for writes in (0, _WRITES)),
    *(bytes((_WRITES | pieces,)) + each for each in WRITING for pieces in (0, 3)),
]
_RULES = FieldRules(("X-Auth-Subject",))
_PIECES = 5
_MUCH = 40000
_MORE = frame(WINDOW_UPDATE, 0, 0, b"\1\0\0\0")
_ENOUGH = frame(SETTINGS, 0, 0, b"\0\4\0\x10\0\0")


class _End(Unheeded):
    """One endpoint: takes what it is told, answers by the numbers of the streams, and holds the engine to its rules."""

    def __init__(self, *, is_server: bool, writes: bool) -> None:
        self.writes = writes
        window = 64 if writes else 65536
        self.engine = Http2Engine(
            self, is_server=is_server, streams=10, window=window, header_bytes=4096, headers=50
        )
        self.ledger = Ledger(is_server=is_server)
        self.open: set[int] = set()
        """Streams of which more may come."""
        self.heard: set[int] = set()
        """Streams whose head was reported."""
        self.closed_ones: set[int] = set()
        self.is_over = False

    def receives(self, data: bytes) -> None:
        self.ledger.receives(data)
        self.engine.receive(data)
        self.pump()

    def pump(self) -> None:
        is_quiet = False
        while not is_quiet:
            while self.engine.has_events:
                self.engine.deliver(1000)
            data = self.engine.outgoing()
            self.ledger.sends(data)
            is_quiet = not data and not self.engine.has_events
        if not self.is_over:
            has_all_windows(self.engine)

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        assert not self.is_over
        assert stream in self.open
        assert stream not in self.heard
        self.heard.add(stream)
        self.ends(stream, ends=ends)

    def ends(self, stream: int, *, ends: bool) -> None:
        if ends:
            self.open.remove(stream)

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        assert not self.is_over
        assert stream in self.open & self.heard
        self.ends(stream, ends=ends)
        self.engine.took(stream, len(data))
        if self.writes and stream % 16 == 5:
            self.engine.reset(stream, CANCEL)

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        assert not self.is_over
        assert stream in self.open & self.heard
        self.ends(stream, ends=True)

    def reset(self, stream: int, code: int) -> None:
        assert stream % 2 == 1

    def closed(self, stream: int, code: int) -> None:
        assert not self.is_over
        assert stream not in self.closed_ones
        self.closed_ones.add(stream)
        self.open.discard(stream)

    def noise(self, *, of_window: int) -> None:
        assert of_window >= 0

    def ended(self, code: int, detail: str) -> None:
        assert not self.is_over
        assert code != NO_ERROR or detail == "" or detail.isprintable()
        self.is_over = True

    def says(self, stream: int) -> None:
        """Content, and an end, as the number of the stream has it."""
        size = (_MUCH, 1, 0, 100)[stream // 2 % 4] if self.writes else 2
        if stream % 3 == 0:
            self.engine.share(stream)
        for at in range(0, size, 9000):
            self.engine.send(stream, bytes(min(9000, size - at)), ends=False)
        if stream % 5 == 0:
            self.engine.trail(stream, [(b"x-sum", b"%d" % stream)])
        else:
            self.engine.send(stream, b"", ends=True)

    def finishes(self) -> None:
        """With windows enough, nothing waits any more."""
        if self.is_over or self.engine.is_within:
            return
        some = [stream for stream in self.engine._streams if stream % 4 == 1]
        self.receives(_MORE + b"".join(frame(WINDOW_UPDATE, 0, stream, b"\0\1\0\0") for stream in some))
        assert not self._waits(some)
        self.receives(_ENOUGH)
        assert not self._waits(list(self.engine._streams))

    def _waits(self, streams: list[int]) -> bool:
        return not self.is_over and any(self.engine.waiting(stream) for stream in streams)


class _Server(_End):
    """Answers each request at once."""

    def __init__(self, *, writes: bool) -> None:
        super().__init__(is_server=True, writes=writes)
        self.heads = HeadReader()
        self.requests: dict[int, Http2Request] = {}
        self.receives(OPENING)

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        assert stream % 2 == 1
        assert stream not in self.closed_ones
        self.open.add(stream)
        super().head(stream, fields, ends=ends)
        made = self.heads.read(fields, ends=ends, target_bytes=1024, header_bytes=4096, headers=50)
        alone = read_request(fields, ends=ends, target_bytes=1024, header_bytes=4096, headers=50)
        assert (made.fault, made.fields, made.target) == (alone.fault, alone.fields, alone.target)
        self.requests[stream] = made
        known = RequestFields()
        if not isinstance(intake.request_head(made, known, _RULES), Fault):
            _is_one_message(made, known)
        self.engine.respond(stream, [(b":status", b"200")], ends=False)
        self.says(stream)
        if self.writes and stream % 16 == 13:
            self.engine.reset(stream, CANCEL)

    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        raise AssertionError("no client sends one")

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        super().trailers(stream, fields)
        made = self.requests[stream]
        read_trailers(made, fields, 1024)
        if made.fault is None:
            assert all(b"\r" not in each and b"\n" not in each for field in made.trailers for each in field)


class _Client(_End):
    """Makes some requests, and resets some streams as their head comes."""

    def __init__(self, *, writes: bool) -> None:
        super().__init__(is_server=False, writes=writes)
        for number in range(1, 13, 2):
            fields = request("/", "HEAD" if number == 7 else "POST")
            assert self.engine.request(fields, ends=number == 7) == number
            self.open.add(number)
            if number != 7:
                self.says(number)
        self.receives(frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        super().head(stream, fields, ends=ends)
        assert int(dict(fields)[b":status"]) >= 200
        if self.writes and stream == 3:
            self.engine.reset(stream, CANCEL)

    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        assert stream in self.open - self.heard
        assert int(dict(fields)[b":status"]) < 200


def _is_one_message(made: Http2Request, known: RequestFields) -> None:
    """What would be written down in HTTP/1.1 has the line ends that we write, and one length."""
    assert len(known.hosts) == 1
    assert made.method.isalpha() or made.method == "M-SEARCH"
    assert made.chunked is not (made.complete or made.content_length is not None)
    pieces = [made.target, *known.hosts, *chain.from_iterable(known.kept)]
    assert all(byte not in piece for piece in pieces for byte in (b"\r", b"\n", b"\0"))


def target(data: bytes) -> None:
    """The first byte says in how many pieces the frames come, and to whom."""
    mode = data[0] if data else 0
    end = (_Client if mode & _CLIENT else _Server)(writes=mode & _WRITES != 0)
    frames = data[1:]
    size = max(1, len(frames) // (1 + mode % _PIECES) + 1)
    with suppress(Http2Failure):
        for at in range(0, len(frames), size):
            end.receives(frames[at : at + size])
        end.finishes()
