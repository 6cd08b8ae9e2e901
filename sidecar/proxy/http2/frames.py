"""The frames of HTTP/2: types, flags and how they are written (RFC 9113 §4 and §6). Pure."""

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends before its first frame (RFC 9113 §3.4)."""
HEADER: Final = 9
"""Bytes of a frame before its payload."""
FRAME_MOST: Final = 16384
"""Largest payload that is sent or accepted: the initial value of SETTINGS_MAX_FRAME_SIZE, its minimum too."""
INITIAL_WINDOW: Final = 65535
"""Bytes that may be sent on a connection, and on a stream, before anything else was said (RFC 9113 §6.9.2)."""
WINDOW_MOST: Final = 0x7FFFFFFF
"""Largest window, and largest number of a stream."""
SETTING_MOST: Final = 0xFFFFFFFF
"""Largest value of a setting."""

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
NO_RFC7540_PRIORITIES: Final = 0x9
"""Settings (RFC 9113 §6.5.2; RFC 9218 §2.1)."""

DATA_MORE: Final = b"\x00\x00"
DATA_LAST: Final = b"\x00\x01"
HEADERS_MORE: Final = b"\x01\x04"
HEADERS_LAST: Final = b"\x01\x05"
"""Type and flags. Content or the fields end with the frame; `LAST`: the stream does too."""

_SIZES: Final = [size.to_bytes(3, "big") for size in range(1024)]


def size_bytes(size: int) -> bytes:
    """The length of a payload, as a frame begins with it."""
    return _SIZES[size] if size < 1024 else size.to_bytes(3, "big")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A whole frame, for those that are not sent with each request."""
    return b"%b%b%b%b" % (size_bytes(len(payload)), bytes((kind, flags)), stream.to_bytes(4, "big"), payload)


def block_frames(block: bytes, stream: bytes, *, ends: bool) -> bytes:
    """A field block as HEADERS, and CONTINUATION where it is too large for one frame. `stream` is the number, as four
    bytes.
    """
    if len(block) <= FRAME_MOST:
        return b"%b%b%b%b" % (size_bytes(len(block)), HEADERS_LAST if ends else HEADERS_MORE, stream, block)
    pieces = [block[at : at + FRAME_MOST] for at in range(0, len(block), FRAME_MOST)]
    frames = []
    for at, piece in enumerate(pieces):
        flags = (END_STREAM if ends and not at else 0) | (END_HEADERS if at == len(pieces) - 1 else 0)
        kind = CONTINUATION if at else HEADERS
        frames.append(size_bytes(len(piece)) + bytes((kind, flags)) + stream + piece)
    return b"".join(frames)


def goaway(last: int, code: int, said: bytes = b"") -> bytes:
    """GOAWAY: streams above `last` were not processed (RFC 9113 §6.8)."""
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + said)


def settings_payload(settings: dict[int, int]) -> bytes:
    """Settings, as SETTINGS carries them."""
    return b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in settings.items())
