"""What one proxy made of one odd request over HTTP/2, in one line.

`200 GET /a`: answered, and the upstream saw that request. `refused`: the upstream saw none; whether that was said by a
status, by RST_STREAM or by GOAWAY is left aside. `reset POST /a`: the upstream saw it all the same. `wait`: no word.
"""

import contextlib
import re
import ssl

from hpack import Decoder

from tests.differential.http2_corpus import AUTHORITY, Odd
from tests.differential.outcome import describe
from tests.support.http2_frames import (
    END_STREAM,
    GOAWAY,
    HEADERS,
    OPENING,
    RST_STREAM,
    asked,
    request,
)
from tests.support.recorder import Recorder
from tests.support.tls_client import Wire

_ORDINARY = re.compile(r" Host:api\.example(?= |$)")
PATIENCE = 60.0
"""Seconds without a byte after which a proxy is said to wait, which no table expects: also on a busy machine."""


class Talk:
    """One connection; what came of its streams."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._rest = b""
        self._hpack = Decoder()
        self.statuses: dict[int, int] = {}
        self.over: set[int] = set()
        self.is_ended = False
        wire.sock.settimeout(PATIENCE)

    def says(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # refused before all was said: the word may be there all the same
            self._wire.send(data)

    def hears_of(self, stream: int) -> bool:
        """Reads until a stream is over, or the connection; False when nothing more comes."""
        while stream not in self.over and not self.is_ended:
            try:
                data = self._wire.read_some()
            except TimeoutError:
                return False
            except OSError:
                data = b""
            self.is_ended = not data
            self._rest += data
            self._take_frames()
        return True

    def _take_frames(self) -> None:
        while len(self._rest) >= 9 + (size := int.from_bytes(self._rest[:3])):
            kind, flags, stream = self._rest[3], self._rest[4], int.from_bytes(self._rest[5:9])
            payload, self._rest = self._rest[9 : 9 + size], self._rest[9 + size :]
            if kind == HEADERS:
                for name, value in self._hpack.decode(payload):
                    if str(name) == ":status":
                        self.statuses[stream] = int(value)
            if kind == RST_STREAM or (kind in (0, HEADERS) and flags & END_STREAM):
                self.over.add(stream)
            self.is_ended |= kind == GOAWAY


def outcome(wire: Wire, recorder: Recorder, odd: Odd) -> str:
    """Sends the odd request and, when that is over, a plain one; one line (see above)."""
    recorder.clear()
    scheme = b"https" if isinstance(wire.sock, ssl.SSLSocket) else b"http"
    with wire:
        talk = Talk(wire)
        talk.says(OPENING + odd.frames(scheme))
        if not talk.hears_of(1):
            return "wait"
        if not talk.is_ended:
            plain = [(name, scheme if name == b":scheme" else value) for name, value in request("/end")]
            fields = [*plain[:3], (b":authority", AUTHORITY)]
            talk.says(asked(fields, 3))
            talk.hears_of(3)
    status = talk.statuses.get(1, 0)
    described = [_ORDINARY.sub("", describe(one)) for one in recorder.seen]
    seen = [one for one in described if one != "GET /end"]
    seen += [f"upstream got {problem}" for problem in recorder.broken]
    if not seen and (status >= 400 or not status):
        return "refused"
    return f"{status or 'reset'} {' + '.join(seen)}".strip()
