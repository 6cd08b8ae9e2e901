"""The tables of header compression (RFC 7541 §2.3): the static one, and the dynamic one of either direction.

Theory of operation. A table has the newest entry first, and entries leave at the other end (§3.3, §4.4). Here it is a
list with the newest entry at its end: to append is cheap, and an entry is found by counting from the end. What has left
is replaced by nothing, so that its memory is free, and the places before `first` are cut off when they are many.

An entry is a tuple that is handed out as it is. It is declared as a tuple of any length: compiled code would take a
pair apart and make a new one of it each time.
"""

from typing import Final

Row = tuple[bytes, ...]
"""A `Field`: name and value."""

TABLE_BYTES: Final = 4096
"""SETTINGS_HEADER_TABLE_SIZE that both sides begin with (RFC 9113 §6.5.2), and the most that is ever used here."""
ENTRY_OVERHEAD: Final = 32
"""What an entry counts besides its bytes (§4.1); a field in the size of a list, too (RFC 9113 §6.5.2)."""
STATIC_LENGTH: Final = 61
_CUT: Final = 64
"""Empty places that are cut off at once."""
_GONE: Final[Row] = (b"", b"")

STATIC: Final[list[Row]] = [
    (b"", b""),  # indices begin with 1
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
]
"""Appendix A, by index."""
STATIC_SIZES: Final = bytes([ENTRY_OVERHEAD + len(row[0]) + len(row[1]) for row in STATIC])
"""The size of each entry."""


class DynamicTable:
    """The dynamic table of one direction of one connection (§2.3.2).

    The place of index 62 in `entries` is the last one. Places before `first` are empty.
    """

    __slots__ = ("changes", "dropped", "entries", "first", "most", "size", "sizes")

    def __init__(self) -> None:
        self.entries: list[Row] = []
        self.sizes: list[int] = []
        """The size of each entry (§4.1)."""
        self.first = 0
        self.size = 0
        """The size of all entries."""
        self.most = TABLE_BYTES
        """The maximum size (§4.2)."""
        self.changes = 0
        """How many times something was added, or the maximum set."""
        self.dropped = 0
        """Places that were cut off."""

    def add(self, row: Row, size: int) -> None:
        """Insert an entry; others leave before. One that is larger than the table empties it, no more (§4.4)."""
        self.changes += 1
        self._shrink(self.most - size)
        if size <= self.most:
            self.entries.append(row)
            self.sizes.append(size)
            self.size += size

    def resize(self, most: int) -> None:
        """Set the maximum size (§4.3)."""
        self.changes += 1
        self.most = most
        self._shrink(most)

    def _shrink(self, most: int) -> None:
        """Evict the oldest entries until all the others have at most `most` bytes."""
        entries, sizes, first, size = self.entries, self.sizes, self.first, self.size
        while size > most and first < len(entries):
            size -= sizes[first]
            entries[first] = _GONE
            first += 1
        if first >= _CUT:
            del entries[:first]
            del sizes[:first]
            self.dropped += first
            first = 0
        self.first, self.size = first, size
