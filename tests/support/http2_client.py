"""A client of HTTP/2 in the test's hands: the engine's other role, or frames written by hand."""

from dataclasses import dataclass, field

from hpack import Decoder

from sidecar.http.message import Field
from sidecar.proxy.http2.engine import Http2Engine
from tests.support.conversation import Client, Conversation
from tests.support.http2_frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    block,
    frame,
    request,
)
from tests.support.http2_peer import Http2Peer
from tests.support.pki import Identity

OUTGOING_WINDOW = 1 << 20


@dataclass
class Got:
    """What came of one stream."""

    interims: list[int] = field(default_factory=list)
    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    is_whole: bool = False
    reset: int | None = None
    """The code with which the sidecar gave it up."""
    closed: int | None = None


class Http2Client(Http2Peer):
    """One connection. What it is told is in `streams`, by number."""

    def __init__(
        self, talk: Conversation, identity: Identity | None = None, *, window: int = OUTGOING_WINDOW
    ) -> None:
        super().__init__()
        talk.tls.protocol = "h2"
        self.client: Client = talk.client(identity)
        talk.tls.protocol = ""
        self.streams: dict[int, Got] = {}
        self.streams_allowed = -1
        self.goaways: list[tuple[int, int]] = []
        self.ended_with: int | None = None
        self.pongs = 0
        self.received = 0
        """Bytes of frames."""
        self.engine = Http2Engine(
            self, is_server=False, streams=0, window=window, header_bytes=65536, headers=200
        )
        self.engine.widen(16 * window)
        self.pump()

    # -- what it does

    def hears(self) -> bytes:
        heard = self.client.hears()
        self.received += len(heard)
        return heard

    def writes_out(self, data: bytes) -> None:
        if not self.client.is_closed:
            self.client.says(data)

    def asks(self, path: str = "/a", method: str = "GET", *others: Field, ends: bool = True) -> int:
        """Sends a head; returns the stream's number."""
        number = self.engine.request(request(path, method, *others), ends=ends)
        assert number, "the connection takes no more"
        self.streams[number] = Got()
        self.pump()
        return number

    def resets(self, number: int, code: int = 8) -> None:
        self.engine.reset(number, code)
        self.pump()

    def writes(self, *frames: bytes) -> None:
        """Frames past its own engine, which may be anything; then what came is read."""
        self.client.says(*frames)
        self.pump()

    def stops_taking(self) -> None:
        """Gives back no window."""
        self.takes = False

    def got(self, number: int) -> Got:
        self.pump()
        return self.streams[number]

    # -- what it is told

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        got = self.streams.setdefault(stream, Got())
        assert not got.status, "a second answer"
        text = {name.decode(): value.decode("latin-1") for name, value in fields}
        got.status, got.fields = int(text.pop(":status")), text
        got.is_whole = ends

    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        self.streams[stream].interims.append(int(dict(fields)[b":status"]))

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        got = self.streams[stream]
        got.body += data
        got.is_whole = ends
        self.taken(stream, data)

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        got = self.streams[stream]
        got.trailers = {name.decode(): value.decode() for name, value in fields}
        got.is_whole = True

    def reset(self, stream: int, code: int) -> None:
        self.streams.setdefault(stream, Got()).reset = code

    def closed(self, stream: int, code: int) -> None:
        self.streams.setdefault(stream, Got()).closed = code

    def goaway(self, last: int, code: int) -> None:
        self.goaways.append((last, code))

    def settled(self, streams: int) -> None:
        self.streams_allowed = streams

    def pong(self) -> None:
        self.pongs += 1

    def noise(self, *, of_window: int) -> None:
        pass

    def ended(self, code: int, detail: str) -> None:
        self.ended_with = code


class RawHttp2:
    """A client that writes frames by hand and reads the sidecar's: nothing stands between a test and the wire."""

    def __init__(self, talk: Conversation, identity: Identity | None = None, *, settles: bool = True) -> None:
        talk.tls.protocol = "h2"
        self.client = talk.client(identity)
        talk.tls.protocol = ""
        self._rest = b""
        self._hpack = Decoder()
        self.frames: list[tuple[int, int, int, bytes]] = []
        """Type, flags, stream and payload of each."""
        self.heads: dict[int, list[dict[str, str]]] = {}
        """The field blocks of each stream."""
        if settles:
            self.writes(PREFACE + frame(SETTINGS, 0, 0), frame(SETTINGS, ACK, 0))

    def writes(self, *data: bytes) -> None:
        """Each piece is read by itself."""
        for piece in data:
            if not self.client.is_closed:
                self.client.says(piece)
        self._read()

    def asks(self, number: int, fields: list[Field], *, ends: bool = True) -> None:
        flags = END_HEADERS | (END_STREAM if ends else 0)
        self.writes(frame(HEADERS, flags, number, block(fields)))

    def _read(self) -> None:
        self._rest += self.client.hears()
        while len(self._rest) >= 9:
            size = int.from_bytes(self._rest[:3])
            if len(self._rest) < 9 + size:
                return
            kind, flags = self._rest[3], self._rest[4]
            number, payload = int.from_bytes(self._rest[5:9]), self._rest[9 : 9 + size]
            self._rest = self._rest[9 + size :]
            self.frames.append((kind, flags, number, payload))
            if kind == HEADERS:
                pairs = self._hpack.decode(payload)
                self.heads.setdefault(number, []).append({str(name): str(value) for name, value in pairs})

    def of(self, kind: int, number: int | None = None) -> list[bytes]:
        """The payloads of the frames of a type, of one stream or of all."""
        self._read()
        return [
            payload for each, _, stream, payload in self.frames if each == kind and number in (None, stream)
        ]

    def status(self, number: int) -> int:
        """That of the answer; 0 when there is none."""
        self._read()
        found = [int(head[":status"]) for head in self.heads.get(number, []) if ":status" in head]
        return found[-1] if found else 0

    def was_reset(self, number: int) -> int | None:
        """The code with which the sidecar gave a stream up."""
        codes = self.of(RST_STREAM, number)
        return int.from_bytes(codes[0]) if codes else None

    def goaway(self) -> int | None:
        """The code with which the sidecar ended the connection, or said that it will."""
        found = self.of(GOAWAY)
        return int.from_bytes(found[-1][4:8]) if found else None
