"""One case of `engine_cases.py` through our engine and through libnghttp2, frame by frame, until they differ.

Both are asked and answered alike. What is compared after each frame: what was reported, by stream, and what was sent,
by stream. The order between streams, the size of pieces and of DATA frames, and frames that only say a window are left
aside; the windows are compared at the end.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sidecar.http.message import Field
from sidecar.proxy.http2.engine import Http2Engine, Http2Failure
from sidecar.proxy.http2.events import CANCEL, NO_ERROR, Http2Events
from tests.differential.engine_cases import Case
from tests.support.http2_frames import CONTINUATION, END_HEADERS, HEADERS, PREFACE, WINDOW_UPDATE, frame
from tests.support.http2_reading import Reading
from tests.support.ngh2_engine import Ngh2Engine

WINDOW, CONNECTION_WINDOW = 32768, 1 << 20
STREAMS, REQUESTS = 8, 12
_WIDE = (1 << 24).to_bytes(4)
Said = tuple[int, str, object]
"""A stream, 0 for the connection; what was reported of it or sent on it; its value."""


class Endpoint(Http2Events):
    """Uses an engine as the case says, and writes down what came of it."""

    def __init__(self, kind: type[Http2Engine] | type[Ngh2Engine], case: Case, window: int = WINDOW) -> None:
        self.seed = case.seed
        self.is_server, self.is_narrow = case.is_server, case.is_narrow
        self.said: list[Said] = []
        self.reading = Reading()
        self.answers: dict[int, str] = {}
        self.untaken: dict[int, int] = {}
        self.over: set[int] = set()
        """Streams of which nothing more can come."""
        self.is_over = False
        self.engine = kind(
            self, is_server=case.is_server, streams=STREAMS, window=window, header_bytes=4096, headers=50
        )
        self.engine.widen(CONNECTION_WINDOW)

    # --- its use -------------------------------------------------------------------------------------

    def asks(self) -> None:
        """Make the requests of a client."""
        for at in range(1 if self.is_narrow else REQUESTS):
            chance = random.Random(self.seed * 100 + at)
            method = chance.choice((b"GET", b"POST", b"POST", b"HEAD"))
            is_short = method != b"POST"
            fields = [(b":method", method), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"b")]
            number = self.engine.request(fields, ends=is_short)
            if not is_short:
                self.finishes(number, chance)
        self.pump()

    def finishes(self, stream: int, chance: random.Random) -> None:
        sizes = (0, 1, 100, 20000, 70000) if self.is_server or self.is_narrow else (0, 1, 100, 5000)
        content = b"c" * chance.choice(sizes)
        if chance.random() < 0.3:
            self.engine.send(stream, content, ends=False)
            self.engine.trail(stream, [(b"x-sum", b"1")])
        else:
            self.engine.send(stream, content, ends=True)

    def begins(self) -> None:
        if not self.is_server:
            self.asks()
        self.pump()

    def feeds(self, pieces: Iterable[bytes]) -> None:
        """Receive a frame."""
        try:
            for piece in pieces:
                if not self.is_over:
                    self.engine.receive(piece)
                    self.pump()
        except Http2Failure:
            self.is_over = True
            self.said.append((0, "failed", None))
        if self.reading.acknowledged and not self.is_narrow:
            self.is_narrow = True
            self.feeds([frame(WINDOW_UPDATE, 0, 0, _WIDE)])

    def does(self, chance: float) -> None:
        """What is done now and then."""
        if chance < 0.01 and not self.is_over:
            if chance < 0.005:
                self.engine.ping()
            else:
                self.engine.go_away()
            self.pump()

    def pump(self) -> None:
        """Until there is nothing to report or to send."""
        is_quiet = False
        while not is_quiet:
            while self.engine.has_events:
                self.engine.deliver(1000)
            data = self.engine.outgoing()
            self.reading.read(data)
            is_quiet = not data and not self.engine.has_events

    def takes_all(self) -> None:
        """Take what was not taken."""
        for stream, size in self.untaken.items():
            self.engine.took(stream, size)
        self.untaken.clear()
        self.pump()

    def windows(self) -> dict[int, int]:
        """What was given back to the connection, and to the streams that have not ended."""
        return {stream: more for stream, more in self.reading.windows.items() if stream not in self.over}

    def take_log(self) -> list[Said]:
        """What came of the last frame; by stream, and content in one piece."""
        told, sent = self.said, self.reading.log
        self.said, self.reading.log = [], []
        return _merged(told) + [(stream, f"sent {what}", value) for stream, what, value in _merged(sent)]

    # --- what it is told -----------------------------------------------------------------------------

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        self.said.append((stream, "head", tuple(fields)))
        self._answer(stream, "head")
        self._note_end(stream, ends=ends)

    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        self.said.append((stream, "interim", tuple(fields)))

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        self.said.append((stream, "data", data))
        self._answer(stream, "data")
        if stream % 4 == 1:
            self.engine.took(stream, len(data))
        else:
            self.untaken[stream] = self.untaken.get(stream, 0) + len(data)
        self._note_end(stream, ends=ends)

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        self.said.append((stream, "trailers", tuple(fields)))
        self._note_end(stream, ends=True)

    def _note_end(self, stream: int, *, ends: bool) -> None:
        if ends:
            self.over.add(stream)
            self.said.append((stream, "ends", None))
            self._answer(stream, "ends")

    def _answer(self, stream: int, event: str) -> None:
        """What is done at this event of this stream, the same with both engines."""
        chance = random.Random(f"{self.seed} {stream} {event}")
        at = self.answers.setdefault(stream, chance.choice(("head", "head", "data", "ends", "ends", "never")))
        if event != at and not (event == "ends" and at == "data"):
            return
        self.answers[stream] = "done"
        if chance.random() < 0.15:
            self.engine.reset(stream, chance.choice((NO_ERROR, CANCEL)))
        elif self.is_server:
            self._respond(stream, chance)

    def _respond(self, stream: int, chance: random.Random) -> None:
        if chance.random() < 0.1:
            self.engine.inform(stream, [(b":status", b"103")])
        is_short = chance.random() < 0.2
        self.engine.respond(stream, [(b":status", b"200"), (b"x", b"%d" % (stream % 8))], ends=is_short)
        if not is_short:
            self.finishes(stream, chance)

    def reset(self, stream: int, code: int) -> None:
        self.said.append((stream, "reset", code))

    def closed(self, stream: int, code: int) -> None:
        self.over.add(stream)
        self.said.append((stream, "closed", code))

    def goaway(self, last: int, code: int) -> None:
        self.said.append((0, "goaway", (last, code)))

    def settled(self, streams: int) -> None:
        self.said.append((0, "settled", streams))

    def pong(self) -> None:
        self.said.append((0, "pong", None))

    def noise(self, *, of_window: int) -> None:
        pass

    def ended(self, code: int, detail: str) -> None:
        self.said.append((0, "ended", code))
        self.is_over = True


def _merged(said: list[Said]) -> list[Said]:
    """By stream, in their order there, content in one piece."""
    found: list[Said] = []
    for stream, what, value in sorted(said, key=lambda one: one[0]):
        if found and found[-1][:2] == (stream, what) and isinstance(value, bytes) and what != "pong":
            before = found.pop()[2]
            assert isinstance(before, bytes)
            found.append((stream, what, before + value))
        elif value != b"":
            found.append((stream, what, value))
    return found


@dataclass(frozen=True, slots=True)
class Difference:
    """What the engines made differently of a frame; empty where it is at the end."""

    case: Case
    frame: bytes
    """With the CONTINUATION frames before it, from HEADERS on."""
    ours: tuple[Said, ...]
    theirs: tuple[Said, ...]

    @property
    def kind(self) -> int:
        """The type of the frame."""
        return self.frame[3] if len(self.frame) >= 9 else -1

    @property
    def flags(self) -> int:
        return self.frame[4]

    @property
    def stream(self) -> int:
        return int.from_bytes(self.frame[5:9]) & 0x7FFFFFFF

    @property
    def payload(self) -> bytes:
        return self.frame[9:]


def wire_frames(case: Case) -> Iterator[tuple[bytes, bool]]:
    """The frames as their lengths cut them, and whether what came of them can be compared: not within a frame or a
    field block, for libnghttp2 refuses either as soon as it can.
    """
    data, at, is_within = b"".join(case.frames), 0, False
    if case.is_server:
        yield data[: len(PREFACE)], True
        at = len(PREFACE)
    while at + 9 <= len(data):
        end = at + 9 + int.from_bytes(data[at : at + 3])
        kind, flags = data[at + 3 : at + 4], data[at + 4 : at + 5]
        is_begun = kind == bytes((HEADERS,)) or (is_within and kind == bytes((CONTINUATION,)))
        is_within = is_begun and not flags[0] & END_HEADERS
        yield data[at:end], end <= len(data) and not is_within
        at = end
    if at < len(data):
        yield data[at:], False


def differences_of(case: Case, window: int = WINDOW) -> Iterator[Difference]:
    """What differs, frame after frame. Whoever stops behind a difference that has consequences is right. `window` is
    that of a stream in our engine.
    """
    ends = Endpoint(Http2Engine, case, window), Endpoint(Ngh2Engine, case)
    chance = random.Random(case.seed)
    for endpoint in ends:
        endpoint.begins()
    seen = b""
    for data, is_comparable in wire_frames(case):
        seen += data
        pieces, does = list(_cut(data, chance, case.cuts)), chance.random()
        for endpoint in ends:
            endpoint.feeds(pieces)
        if is_comparable:
            if not any(endpoint.is_over for endpoint in ends):
                for endpoint in ends:
                    endpoint.does(does)
            logs = [endpoint.take_log() for endpoint in ends]
            if logs[0] != logs[1]:
                yield Difference(case, seen, *(tuple(log) for log in logs))
            if any(end.is_over for end in ends):
                return
            seen = b""
    if not seen:
        yield from _windows(case, *ends)


def _cut(data: bytes, chance: random.Random, cuts: int) -> Iterator[bytes]:
    at = 0
    for _ in range(cuts - 1):
        end = chance.randint(at, len(data))
        if end > at:
            yield data[at:end]
        at = end
    yield data[at:]


def _windows(case: Case, ours: Endpoint, theirs: Endpoint) -> Iterator[Difference]:
    """The windows that were given back, after all was taken: they may differ by what is not worth a frame yet."""
    for endpoint in (ours, theirs):
        endpoint.takes_all()
    first, second = ours.windows(), theirs.windows()
    for stream in first.keys() | second.keys():
        given, other = first.get(stream, 0), second.get(stream, 0)
        if abs(given - other) * 2 > (WINDOW if stream else CONNECTION_WINDOW):
            yield Difference(case, b"", ((stream, "window", given),), ((stream, "window", other),))
