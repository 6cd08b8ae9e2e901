"""Cuts received data at frame boundaries into pieces that cause the engine limited work (RFC 9113 §4.1).

Theory of operation. The engine decodes all data that it is given, and a field block of 20 bytes can become 30,000
(RFC 7541 §7.3). It is therefore given a few frames at a time, and more only when the work for these was counted. Only
lengths and types are read here: the engine interprets and validates the frames.
"""

from typing import Final

PIECE: Final = 16
"""Approximate units of work in one piece: 2 heads, or 16 other frames of any size."""
BLOCK_WORK: Final = 8
"""Units of work for a frame with a field block; any other frame counts one."""
PREFACE_BYTES: Final = 24
"""The client's connection preface, sent before its first frame (RFC 9113 §3.4)."""

_HEADER: Final = 9
_HEADERS: Final = 0x1
_CONTINUATION: Final = 0x9


class Pieces:
    """Data of one peer that the engine has not been given."""

    __slots__ = ("_at", "_data", "_most", "_rest")

    def __init__(self, first: int, most: int) -> None:
        """`first` is the number of bytes before the first frame, `most` the units of work in a piece."""
        self._data = b""
        self._at = 0
        self._rest = first
        """Remaining bytes of the frame whose header was read."""
        self._most = most

    def add(self, data: bytes) -> None:
        """Add received data."""
        if self._at < len(self._data):
            self._data = self._data[self._at :] + data
        else:
            self._data = data
        self._at = 0

    @property
    def has_more(self) -> bool:
        """Whether there is a piece; an incomplete frame header is none."""
        left = len(self._data) - self._at
        return left >= _HEADER or (left > 0 and self._rest > 0)

    def next(self) -> bytes:
        """The next piece; empty if there is none."""
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
        if at == size:
            self._data, self._at = b"", 0  # an idle connection keeps nothing of its last request
            return data if begin == 0 else data[begin:]
        self._at = at
        return data[begin:at]

    def clear(self) -> None:
        """Discard the remaining data."""
        self._data, self._at = b"", 0
