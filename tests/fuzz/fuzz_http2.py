"""Frames of a client of HTTP/2: what the engine makes of them is told in order, and no request brings a line end."""

from itertools import chain

from sidecar.http import intake
from sidecar.http.fields import FieldRules, RequestFields
from sidecar.http.http2_request import HeadReader, Http2Request, read_request, read_trailers
from sidecar.http.message import Fault, Field
from sidecar.proxy.http2.engine import Http2Engine, Http2Failure
from sidecar.proxy.http2.events import NO_ERROR, Unheeded
from tests.support.http2_frames import (
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
SEEDS = [b"\0" + each for each in SEEDS]
_RULES = FieldRules(("X-Auth-Subject",))
_PIECES = 5


class _Server(Unheeded):
    """Answers each request at once, and holds what it is told to the order that it must have."""

    def __init__(self) -> None:
        self.engine = Http2Engine(
            self, is_server=True, streams=10, window=65536, header_bytes=4096, headers=50
        )
        self.heads = HeadReader()
        self.open: dict[int, Http2Request] = {}
        self.closed_ones: set[int] = set()

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        assert stream % 2 == 1
        assert stream not in self.open
        assert stream not in self.closed_ones
        made = self.heads.read(fields, ends=ends, target_bytes=1024, header_bytes=4096, headers=50)
        alone = read_request(fields, ends=ends, target_bytes=1024, header_bytes=4096, headers=50)
        assert (made.fault, made.fields, made.target) == (alone.fault, alone.fields, alone.target)
        self.open[stream] = made
        known = RequestFields()
        if not isinstance(intake.request_head(made, known, _RULES), Fault):
            _is_one_message(made, known)
        self.engine.respond(stream, [(b":status", b"200")], ends=False)
        self.engine.send(stream, b"ok", ends=True)

    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        raise AssertionError("no client sends one")

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        assert stream in self.open
        assert not self.open[stream].complete
        self.open[stream].complete = ends
        if data:
            self.engine.took(stream, len(data))

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        made = self.open[stream]
        assert not made.complete
        read_trailers(made, fields, 1024)
        if made.fault is None:
            assert all(b"\r" not in each and b"\n" not in each for field in made.trailers for each in field)

    def reset(self, stream: int, code: int) -> None:
        assert stream % 2 == 1

    def closed(self, stream: int, code: int) -> None:
        assert stream not in self.closed_ones
        self.open.pop(stream, None)
        self.closed_ones.add(stream)

    def noise(self, *, of_window: int) -> None:
        assert of_window >= 0

    def ended(self, code: int, detail: str) -> None:
        assert code != NO_ERROR or detail == "" or detail.isprintable()


def _is_one_message(made: Http2Request, known: RequestFields) -> None:
    """What would be written down in HTTP/1.1 has the line ends that we write, and one length."""
    assert len(known.hosts) == 1
    assert made.method.isalpha() or made.method == "M-SEARCH"
    assert made.chunked is not (made.complete or made.content_length is not None)
    pieces = [made.target, *known.hosts, *chain.from_iterable(known.kept)]
    assert all(byte not in piece for piece in pieces for byte in (b"\r", b"\n", b"\0"))


def target(data: bytes) -> None:
    """The first byte says in how many pieces the frames come."""
    server = _Server()
    frames = data[1:]
    size = max(1, len(frames) // (1 + (data[0] if data else 0) % _PIECES) + 1)
    try:
        server.engine.receive(OPENING)
        for at in range(0, len(frames), size):
            server.engine.receive(frames[at : at + size])
            server.engine.deliver(1000)
            server.engine.outgoing()
            server.engine.deliver(1000)
    except Http2Failure:
        return
