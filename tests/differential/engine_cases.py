"""Seeded conversations of HTTP/2, as a peer would send them, and spoilt ones: for both roles of an engine.

Theory of operation. Each stream has frames of its own in their order; the streams and the frames of the connection are
interleaved by chance. Then some frames are spoilt, doubled, left out or moved. All chance comes from one seed.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from hpack import Encoder

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
    PRIORITY,
    PUSH,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
)

PADDED, HAS_PRIORITY = 0x8, 0x20
_NUMBERS = (0, 1, 2, 3, 4, 5, 7, 9, 11, 13, 255, 0x7FFFFFFF, 0x80000001)
_CODES = (0, 1, 2, 3, 5, 7, 8, 11, 0xFFFFFFFF)
_ODD_FIELDS: tuple[Field, ...] = (
    (b"Upper", b"x"), (b"connection", b"close"), (b"te", b"gzip"), (b"te", b"trailers"), (b"x y", b"z"),
    (b"x", b"a\nb"), (b"x", b" a"), (b"x", b"\x7f"), (b"", b"x"), (b":unknown", b"x"), (b":status", b"200"),
    (b":path", b"/twice"), (b"content-length", b"3"), (b"content-length", b"x"), (b"content-length", b"-1"),
    (b"transfer-encoding", b"chunked"), (b"host", b"other"), (b"priority", b"u=1, i"), (b"x", b"\xff"),
    (b"content-length", b"99999999999999999999"), (b":authority", b"b"), (b"cookie", b"a=b"), (b"upgrade", b"h2"),
)  # fmt: skip
_UNKNOWN_KINDS = (0x0A, 0x0B, 0x0C, 0x10, 0x77)


@dataclass(frozen=True, slots=True)
class Case:
    """What a peer sends, and how the engine under test is used meanwhile."""

    seed: int
    is_server: bool
    """The role of the engine under test."""
    frames: tuple[bytes, ...]
    cuts: int
    """Into how many pieces a frame is cut at most."""
    is_narrow: bool
    """The window of the connection is small; then one stream has content, for the order of streams is no rule."""


def case_of(seed: int) -> Case:
    """The case with this number."""
    chance = random.Random(seed)
    maker = _Maker(chance, is_server=seed % 2 == 0)
    maker.is_narrow = chance.random() < 0.1
    frames = maker.conversation()
    if chance.random() < 0.7:
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            if frames:
                _spoil(chance, frames)
    return Case(seed, maker.is_server, tuple(frames), chance.choice((1, 1, 2, 5)), maker.is_narrow)


class _Maker:
    """One conversation, and the compression of its peer."""

    def __init__(self, chance: random.Random, *, is_server: bool) -> None:
        self.chance = chance
        self.is_server = is_server
        self.is_narrow = False
        self.encoder = Encoder() if chance.random() < 0.5 else None

    def conversation(self) -> list[bytes]:
        chance = self.chance
        found = [PREFACE] if self.is_server else []
        found.append(frame(SETTINGS, 0, 0, self._settings() if chance.random() < 0.5 else b""))
        if chance.random() < 0.9:
            found.append(frame(SETTINGS, ACK, 0))
        waiting = [
            self._stream(1 + 2 * at) for at in range(1 if self.is_narrow else chance.choice((1, 2, 3, 5, 12)))
        ]
        begun = [self._controls()] if chance.random() < 0.6 else []
        while begun or waiting:
            if waiting and (not begun or chance.random() < 0.3):
                lane = waiting.pop(0)
                begun.append(lane)
            else:
                lane = chance.choice(begun)
            step = next(lane, None)
            if step is None:
                begun.remove(lane)
            else:
                found += step
        return found

    # --- a stream ------------------------------------------------------------------------------------

    def _stream(self, number: int) -> Iterator[list[bytes]]:
        """The frames of one stream, those of a field block together."""
        chance = self.chance
        content = bytes(chance.choice((0, 0, 1, 3, 100, 5000, 20000, 70000)))
        ends_by_trailers = chance.random() < 0.2
        said = chance.choice((None, None, len(content), len(content), chance.randint(0, 5)))
        fields = self._request(said) if self.is_server else self._response(said)
        if not self.is_server:
            for _ in range(chance.choice((0, 0, 0, 1, 2))):
                yield self._block(number, [(b":status", chance.choice((b"100", b"103"))), (b"link", b"</>")])
        is_short = not content and not ends_by_trailers
        yield self._block(number, fields, ends=is_short)
        yield from self._extras(number)
        at = 0
        while at < len(content) or (not is_short and not ends_by_trailers and not at):
            piece = content[at : at + chance.choice((1, 100, 5000, 16384))]
            at += len(piece)
            is_last = at == len(content) and not ends_by_trailers
            yield [self._data(number, piece, ends=is_last)]
            if is_last:
                break
            yield from self._extras(number)
        if ends_by_trailers:
            trailers = [(b"x-sum", b"1"), chance.choice(_ODD_FIELDS)][: chance.choice((1, 1, 1, 2))]
            yield self._block(number, self._odd(trailers), ends=True)
        yield from self._extras(number)

    def _request(self, length: int | None) -> list[Field]:
        fields = [
            (b":method", self.chance.choice((b"GET", b"POST", b"POST", b"HEAD", b"OPTIONS"))),
            (b":scheme", b"https"),
            (b":path", self.chance.choice((b"/a", b"/b?c=d"))),
            (b":authority", b"api"),
            (b"accept", b"*/*"),
        ]
        return self._odd(self._with_length(fields, length))

    def _response(self, length: int | None) -> list[Field]:
        status = self.chance.choice((b"200", b"200", b"200", b"404", b"204", b"304", b"500"))
        return self._odd(self._with_length([(b":status", status), (b"server", b"x")], length))

    def _with_length(self, fields: list[Field], length: int | None) -> list[Field]:
        return fields if length is None else [*fields, (b"content-length", b"%d" % length)]

    def _odd(self, fields: list[Field]) -> list[Field]:
        chance = self.chance
        if chance.random() < 0.1:
            at = chance.randint(0, len(fields))
            match chance.choice(("more", "more", "less", "moved", "none", "large")):
                case "more":
                    fields.insert(at, chance.choice(_ODD_FIELDS))
                case "less":
                    del fields[at : at + 1]
                case "moved":
                    chance.shuffle(fields)
                case "none":
                    fields = []
                case "large":
                    fields.append((b"x-large", bytes(b"a" * chance.choice((3000, 9000, 20000)))))
        return fields

    def _block(self, number: int, fields: list[Field], *, ends: bool = False) -> list[bytes]:
        chance = self.chance
        data = (
            block(fields)
            if self.encoder is None
            else self.encoder.encode(fields, huffman=chance.random() < 0.5)
        )
        flags, front, back = END_STREAM if ends else 0, b"", b""
        if chance.random() < 0.1:
            back = bytes(chance.choice((0, 1, 7)))
            flags, front = flags | PADDED, bytes((len(back),))
        if chance.random() < 0.1:
            flags |= HAS_PRIORITY
            front += chance.choice(_NUMBERS).to_bytes(4) + b"\x10"
        cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.choice((0, 0, 0, 1, 2, 20))))
        pieces = [data[begin:end] for begin, end in pairwise((0, *cuts, len(data)))]
        kinds = [HEADERS] + [CONTINUATION] * (len(pieces) - 1)
        pieces[0] = front + pieces[0] + back
        found = [
            frame(kind, flags if kind == HEADERS else 0, number, piece)
            for kind, piece in zip(kinds, pieces, strict=True)
        ]
        found[-1] = found[-1][:4] + bytes((found[-1][4] | END_HEADERS,)) + found[-1][5:]
        return found

    def _data(self, number: int, piece: bytes, *, ends: bool) -> bytes:
        flags = END_STREAM if ends else 0
        if self.chance.random() < 0.15:
            padding = self.chance.choice((0, 1, 200))
            if len(piece) + padding < 16384:
                return frame(DATA, flags | PADDED, number, bytes((padding,)) + piece + bytes(padding))
        return frame(DATA, flags, number, piece)

    def _extras(self, number: int) -> Iterator[list[bytes]]:
        """Frames that may come at any time on a stream."""
        chance = self.chance
        if chance.random() < 0.3:
            more = chance.choice((1, 1000, 100000, 0x7FFFFFFF, 0))
            yield [frame(WINDOW_UPDATE, 0, number, more.to_bytes(4))]
        if chance.random() < 0.05:
            yield [frame(RST_STREAM, 0, number, chance.choice(_CODES).to_bytes(4))]
        if chance.random() < 0.05:
            yield [frame(PRIORITY, 0, number, chance.choice(_NUMBERS).to_bytes(4) + b"\0")]
        if chance.random() < 0.05:
            yield [frame(DATA, 0, number)]

    # --- the connection ------------------------------------------------------------------------------

    def _controls(self) -> Iterator[list[bytes]]:
        for _ in range(self.chance.randint(1, 5)):
            yield [self._control()]

    def _control(self) -> bytes:
        chance = self.chance
        match chance.choice(("settings", "settings", "ping", "pong", "window", "unknown", "goaway", "any")):
            case "settings":
                return frame(SETTINGS, 0, 0, self._settings())
            case "ping":
                return frame(PING, 0, 0, chance.randbytes(8))
            case "pong":
                return frame(PING, ACK, 0, bytes(8))
            case "window":
                return frame(WINDOW_UPDATE, 0, 0, chance.choice((1, 65535, 1 << 24)).to_bytes(4))
            case "goaway":
                last, code = chance.choice(_NUMBERS), chance.choice(_CODES)
                return frame(GOAWAY, 0, 0, last.to_bytes(4) + code.to_bytes(4) + chance.choice((b"", b"bye")))
            case "unknown":
                return frame(
                    chance.choice(_UNKNOWN_KINDS), chance.randrange(256), chance.choice(_NUMBERS), b"u=1,"
                )
            case _:
                return _any_frame(chance)

    def _settings(self) -> bytes:
        chance = self.chance
        values = {
            1: (0, 100, 4096, 1 << 20), 2: (0, 0, 0, 1, 2), 3: (0, 1, 100), 6: (0, 1000), 8: (0, 1, 2), 9: (0, 1, 2),
            4: (0, 1, 100, 65535, 1 << 20, 0x7FFFFFFF, 0x80000000), 5: (16384, 16384, 1 << 20, 100), 0x99: (7,),
        }  # fmt: skip
        names = chance.choices(list(values), weights=(4, 1, 2, 1, 1, 1, 4, 1, 1), k=chance.randint(0, 3))
        return b"".join(name.to_bytes(2) + chance.choice(values[name]).to_bytes(4) for name in names)


def _any_frame(chance: random.Random) -> bytes:
    kind = chance.choice((*range(10), *_UNKNOWN_KINDS))
    payload = chance.randbytes(chance.choice((0, 1, 4, 5, 6, 8, 8, 9, 12)))
    if kind in (HEADERS, CONTINUATION, PUSH) and chance.random() < 0.5:
        payload = b"\x82\x87\x84"
    flags = chance.choice((0, 1, 4, 5, 8, 0x20, chance.randrange(256)))
    return frame(kind, flags, chance.choice(_NUMBERS), payload)


def _spoil(chance: random.Random, frames: list[bytes]) -> None:
    """Change one frame, or the order."""
    at = chance.randrange(len(frames))
    one = bytearray(frames[at])
    match chance.choice(
        ("flags", "length", "stream", "kind", "byte", "bytes", "drop", "twice", "move", "new")
    ):
        case "flags":
            one[4] ^= chance.choice((1, 4, 8, 0x20, chance.randrange(256)))
        case "length":
            one[2] = (one[2] + chance.choice((1, -1, 5, 128))) % 256
        case "stream":
            one[5:9] = chance.choice(_NUMBERS).to_bytes(4)
        case "kind":
            one[3] = chance.choice((*range(10), *_UNKNOWN_KINDS))
        case "byte":
            one[chance.randrange(len(one))] = chance.randrange(256)
        case "bytes":
            cut = chance.randint(9, len(one))
            one[cut:] = chance.randbytes(chance.choice((0, 1, 4, 8)))
            one[:3] = (len(one) - 9).to_bytes(3)
        case "drop":
            del frames[at]
            return
        case "twice":
            frames.insert(chance.randint(at, len(frames)), frames[at])
            return
        case "move":
            frames.insert(chance.randrange(len(frames)), frames.pop(at))
            return
        case "new":
            frames.insert(at, _any_frame(chance))
            return
    frames[at] = bytes(one)
