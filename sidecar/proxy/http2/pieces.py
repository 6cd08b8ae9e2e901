"""What a peer sent, cut at the ends of frames: pieces of which none makes the engine do much at once (RFC 9113 §4.1).

Theory of operation. The engine decodes all that it is given, and a field block of 20 bytes can become 30,000
(RFC 7541 §7.3). So it is given a few frames at a time, and nothing more before these were paid for. Only lengths and
types are looked at here: what a frame means, and whether it may be, is the engine's to say.
"""

from typing import Final

PIECE: Final = 16
"""Units of work in one piece, about: 2 heads, or 16 other frames, however large."""
BLOCK_WORK: Final = 8
"""Units that a frame with a field block counts; any other counts one."""
PREFACE_BYTES: Final = 24
"""RFC 9113 §3.4: what a client says before its first frame."""

_HEADER: Final = 9
_HEADERS: Final = 0x1
_CONTINUATION: Final = 0x9


class Pieces:
    """What one peer sent and the engine has not been given."""

    __slots__ = ("_at", "_data", "_most", "_rest")

    def __init__(self, first: int, most: int) -> None:
        """`first` is how many bytes come before the first frame, `most` how many units of work a piece holds."""
        self._data = b""
        self._at = 0
        self._rest = first
        """Bytes that belong to the frame whose header has been looked at."""
        self._most = most

    def add(self, data: bytes) -> None:
        """More was read."""
        if self._at < len(self._data):
            self._data = self._data[self._at :] + data
        else:
            self._data = data
        self._at = 0

    @property
    def has_more(self) -> bool:
        """Whether there is a piece: a header of a frame that is not whole is none."""
        left = len(self._data) - self._at
        return left >= _HEADER or (left > 0 and self._rest > 0)

    def next(self) -> bytes:
        """The next piece; nothing when there is none."""
        data, begin, work = self._data, self._at, 0
        size = len(data)
        at = begin + self._rest
        while at + _HEADER <= size and work < self._most:
            kind = data[at + 3]
            work += BLOCK_WORK if kind in (_HEADERS, _CONTINUATION) else 1
            at += _HEADER + (data[at] << 16 | data[at + 1] << 8 | data[at + 2])
        if at > size:
            self._rest, at = at - size, size
        else:
            self._rest = 0
        self._at = at
        if begin == 0 and at == size:
            return data
        return data[begin:at]

    def clear(self) -> None:
        """Nobody wants the rest."""
        self._data, self._at = b"", 0
