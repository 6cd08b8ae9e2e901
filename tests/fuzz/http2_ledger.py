"""What an engine of HTTP/2 may send by what it was sent, counted beside it (RFC 9113 §6.9)."""

from sidecar.proxy.http2.engine import Http2Engine
from tests.support.http2_frames import ACK, PREFACE, SETTINGS, WINDOW_UPDATE
from tests.support.http2_reading import Reading

_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE = 1, 4


class Ledger:
    """Reads both directions of one connection."""

    def __init__(self, *, is_server: bool) -> None:
        self.reading = Reading()
        self._initial = self._connection = 65535
        self._table = 4096
        self._streams: dict[int, int] = {}
        """By stream: the sum of all WINDOW_UPDATE."""
        self._sent: dict[int, int] = {}
        self._data = b""
        self._skips = len(PREFACE) if is_server else 0

    def receives(self, data: bytes) -> None:
        """What the engine is given."""
        self._data += data
        if self._skips and len(self._data) >= self._skips:
            self._data, self._skips = self._data[self._skips :], 0
        while not self._skips and len(self._data) >= 9:
            end = 9 + int.from_bytes(self._data[:3])
            if len(self._data) < end:
                return
            self._read(self._data[3], self._data[4], int.from_bytes(self._data[5:9]), self._data[9:end])
            self._data = self._data[end:]

    def _read(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        stream &= 0x7FFFFFFF
        if kind == WINDOW_UPDATE and len(payload) == 4:
            more = int.from_bytes(payload) & 0x7FFFFFFF
            if stream:
                self._streams[stream] = self._streams.get(stream, 0) + more
            else:
                self._connection += more
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload) - 5, 6):
                name, value = int.from_bytes(payload[at : at + 2]), int.from_bytes(payload[at + 2 : at + 6])
                if name == _INITIAL_WINDOW_SIZE:
                    self._initial = value
                elif name == _HEADER_TABLE_SIZE:
                    self._table = value
            self.reading.tables.append(self._table)

    def sends(self, data: bytes) -> None:
        """The output parses, and has no more content than the windows allow."""
        self.reading.read(data)
        for number, sent in self.reading.streams.items():
            size = len(sent.content)
            if size > self._sent.get(number, 0):
                assert size <= self._initial + self._streams.get(number, 0)
                self._sent[number] = size
        assert sum(self._sent.values()) <= self._connection


def has_all_windows(engine: Http2Engine) -> None:
    """What was taken is given back, or waits until it is worth a frame; nothing is lost. All content was taken."""
    rest = engine._rest
    assert engine._in_window + engine._in_taken + rest == engine._in_most
    assert engine._in_taken * 2 < engine._in_most
    for stream in engine._streams.values():
        if stream.is_open_in:
            under_way = rest if engine._rest_stream == stream.number else 0
            assert stream.in_window + stream.in_taken + under_way == engine._initial_in
            assert stream.in_taken * 2 < engine._initial_in
