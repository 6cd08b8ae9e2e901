"""What an endpoint of HTTP/2 sent, read without its engine: frames by hand, fields by the package hpack."""

from hpack import Decoder

from sidecar.http.message import Field
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
)

_LONGEST = 16384


class Sent:
    """What was sent on one stream."""

    def __init__(self) -> None:
        self.heads: list[tuple[Field, ...]] = []
        """All field blocks: interim heads, the head, trailers."""
        self.content = bytearray()
        self.has_ended = False
        self.reset: int | None = None
        """The code of RST_STREAM."""


class Reading:
    """Reads the output as it comes; it must be well-formed, and nothing may come on a stream that has ended."""

    def __init__(self) -> None:
        self.streams: dict[int, Sent] = {}
        self.settings: list[dict[int, int]] = []
        self.acknowledged = 0
        """SETTINGS with ACK."""
        self.pongs: list[bytes] = []
        self.goaways: list[tuple[int, int]] = []
        """The last stream, and the code."""
        self.windows: dict[int, int] = {}
        """By stream, 0 for the connection: the sum of all WINDOW_UPDATE."""
        self.log: list[tuple[int, str, object]] = []
        """All but windows in its order: stream, what, and its value."""
        self.decoder = Decoder()
        self.tables: list[int] = []
        """SETTINGS_HEADER_TABLE_SIZE of what was not acknowledged yet, if it is known: the table may not be larger."""
        self._block: tuple[int, bool, bytes] | None = None

    def read(self, data: bytes) -> None:
        """Whole frames."""
        data = data.removeprefix(PREFACE)
        at = 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 3])
            assert size <= _LONGEST
            assert at + 9 + size <= len(data), "outgoing has whole frames"
            stream = int.from_bytes(data[at + 5 : at + 9])
            self._read_frame(data[at + 3], data[at + 4], stream, data[at + 9 : at + 9 + size])
            at += 9 + size

    def _read_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        assert self._block is None or (kind == CONTINUATION and stream == self._block[0])
        if kind in (DATA, HEADERS, RST_STREAM):
            self._read_stream(kind, flags, stream, payload)
        elif kind == CONTINUATION:
            assert self._block is not None
            self._read_block(stream, flags, self._block[2] + payload, ends=self._block[1])
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(payload)
            assert len(payload) == 4
            assert 0 < more < 1 << 31
            self.windows[stream] = self.windows.get(stream, 0) + more
        else:
            assert stream == 0
            self._read_connection(kind, flags, payload)

    def _read_stream(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        sent = self.streams.setdefault(stream, Sent())
        assert stream > 0
        assert sent.reset is None, "nothing follows RST_STREAM"
        if kind == RST_STREAM:
            assert len(payload) == 4
            sent.reset = int.from_bytes(payload)
            self.log.append((stream, "reset", sent.reset))
            return
        assert not sent.has_ended, "nothing but RST_STREAM follows the end"
        if kind == HEADERS:
            assert not flags & 0x28
            self._read_block(stream, flags, payload, ends=flags & END_STREAM != 0)
        else:
            assert sent.heads, "no content before a head"
            assert not flags & ~END_STREAM
            sent.content += payload
            self.log.append((stream, "content", payload))
            self._ends(stream, sent, ends=flags & END_STREAM != 0)

    def _read_block(self, stream: int, flags: int, data: bytes, *, ends: bool) -> None:
        if not flags & END_HEADERS:
            self._block = stream, ends, data
            return
        self._block = None
        fields = tuple((bytes(name), bytes(value)) for name, value in self.decoder.decode(data, raw=True))
        sent = self.streams[stream]
        sent.heads.append(fields)
        self.log.append((stream, "head", fields))
        self._ends(stream, sent, ends=ends)

    def _ends(self, stream: int, sent: Sent, *, ends: bool) -> None:
        sent.has_ended = ends
        if ends:
            self.log.append((stream, "ends", None))

    def _read_connection(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            pairs = [payload[at : at + 6] for at in range(0, len(payload), 6)]
            self.settings.append({int.from_bytes(one[:2]): int.from_bytes(one[2:]) for one in pairs})
        elif kind == SETTINGS:
            assert payload == b""
            self.acknowledged += 1
            if self.tables:
                self.decoder.max_allowed_table_size = self.tables.pop(0)
            self.log.append((0, "acknowledged", None))
        elif kind == PING:
            assert len(payload) == 8
            if flags & ACK:
                self.pongs.append(payload)
            self.log.append((0, "pong" if flags & ACK else "ping", payload))
        else:
            assert kind == GOAWAY
            last, code = int.from_bytes(payload[:4]), int.from_bytes(payload[4:8])
            assert not self.goaways or last <= self.goaways[-1][0], "RFC 9113 §6.8: it never rises"
            self.goaways.append((last, code))
            self.log.append((0, "goaway", code))
