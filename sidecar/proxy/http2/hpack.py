"""Decodes field blocks (RFC 7541): the fields of a head or of trailers, and the table that both sides keep.

Theory of operation. What a peer sends again should cost next to nothing, and what it sends new no more than its bytes.

- The block that came before. A block that changed nothing in the dynamic table says the same when it comes again, until
  the table changes. So the last such blocks are kept with their fields, by their length, for heads and trailers take
  turns, and to compare two strings is cheaper than to hash one. The same list is given out again.
- An indexed field is an entry of a table as it is: to find it is to count from the end of a list.
- A long string that is sent as a literal each time, as a token is, is kept with what it was decoded to, again by its
  length. The receiver gets the same object, and recognizes it without a look at it. What is kept is this connection's
  alone, and `rest` drops it: values may be secrets. Names are none: those in the Huffman code are kept for all
  connections, for to look one up takes a fifth of what it takes to decode it.

Work is bounded by the length of the block: an indexed field appends a reference to what is there. A list that is over
its limits is not kept on, but decoded to its end, for the later blocks need the table (§2.2).
"""

from typing import Final, cast

from sidecar.http.message import Field
from sidecar.proxy.http2.hpack_names import SECRET_NAMES, FieldNames
from sidecar.proxy.http2.hpack_tables import (
    ENTRY_OVERHEAD,
    STATIC,
    STATIC_LENGTH,
    STATIC_SIZES,
    TABLE_BYTES,
    DynamicTable,
    Row,
)
from sidecar.proxy.http2.huffman import HpackError, decode_huffman
from sidecar.proxy.native import i64

__all__ = ["HeaderDecoder", "HpackError"]

_MOST: Final = 1 << 28
"""The largest integer (§5.1). Nothing that is longer or further away can be in a block."""
_LONGEST_SHIFT: Final = 28
_UPDATES: Final = 2
"""Table size updates in a block: the smallest size, and the last (§4.2)."""
_SLOTS: Final = 8
_LONG: Final = 64
"""Encoded bytes from which on a string is kept."""
_KEPT: Final = 8192
"""Bytes of all blocks that are kept, with their fields, and as many of all strings."""
_NAMES: Final[dict[bytes, bytes]] = {}
"""Names by their Huffman code, all shorter than `_LONG`; the number of entries is bounded."""
_MOST_NAMES: Final = 1024
_NO_BYTES: Final[list[bytes]] = []
"""Shared, and never appended to: an idle connection keeps nothing."""
_NO_LISTS: Final[list[tuple[Row, ...]]] = []


class HeaderDecoder:
    """Decodes the blocks of one direction of a connection, each once and in their order."""

    __slots__ = (
        "_at", "_blocks", "_decoded", "_encoded", "_header_bytes", "_headers", "_kept", "_kept_strings", "_lists",
        "_marks", "_names", "_table",
    )  # fmt: skip

    def __init__(self, header_bytes: int, headers: int, names: FieldNames) -> None:
        """Limits of a list: its size, with 32 bytes for each field (RFC 9113 §6.5.2), and the number of its fields.
        `names` are those of the direction: `REQUESTS` or `RESPONSES`.
        """
        self._names = names
        self._marks = False
        """The block has marked a name. Such a block is not kept, for it has to do so each time."""
        self._header_bytes: i64 = header_bytes
        self._headers: i64 = headers
        self._table = DynamicTable()
        self._at: i64 = 0
        """The position in the block behind the literal that was read last."""
        self._blocks = _NO_BYTES
        """Blocks that changed nothing, since the table changed last, by their length."""
        self._lists = _NO_LISTS
        """Their fields."""
        self._encoded = _NO_BYTES
        """Long strings as they came, by their length: first those in plain, then those in the Huffman code."""
        self._decoded = _NO_BYTES
        self._kept: i64 = 0
        """Bytes of the blocks and fields, and below of the strings, that were added; what took the place of something
        else counts until all is dropped.
        """
        self._kept_strings: i64 = 0

    def decode(self, block: bytes) -> tuple[Field, ...] | None:
        """The fields of a whole block, pseudo-header fields too; None if their list is over a limit. Raises
        `HpackError`: the connection cannot go on.

        The same object may come again.
        """
        if self._blocks and self._blocks[len(block) % _SLOTS] == block:
            return cast("tuple[Field, ...]", self._lists[len(block) % _SLOTS])
        return cast("tuple[Field, ...] | None", self._decode(block))

    def rest(self) -> None:
        """The connection is idle: keep nothing but the table."""
        self._drop_blocks()
        self._drop_strings()

    def _drop_blocks(self) -> None:
        self._blocks, self._lists, self._kept = _NO_BYTES, _NO_LISTS, 0

    def _drop_strings(self) -> None:
        self._encoded, self._decoded, self._kept_strings = _NO_BYTES, _NO_BYTES, 0

    def _decode(self, block: bytes) -> tuple[Row, ...] | None:
        table = self._table
        changes = table.changes
        self._marks = False
        rows: list[Row] = []
        size: i64 = 0
        number: i64 = 0
        end: i64 = len(block)
        at = self._updates(block)
        while at < end:
            first: i64 = block[at]
            if first >= 0x80:
                at += 1
                index = first & 0x7F
                if index == 0x7F:
                    index, at = _integer(block, at, 0x7F)
                if index > STATIC_LENGTH:
                    place = self._place(index)
                    row = table.entries[place]
                    size += table.sizes[place]
                elif index:
                    row = STATIC[index]
                    size += STATIC_SIZES[index]
                else:
                    raise HpackError("index 0")
            else:
                row = self._literal(block, at, first)
                at = self._at
                size += ENTRY_OVERHEAD + len(row[0]) + len(row[1])
            number += 1
            if size <= self._header_bytes and number <= self._headers:
                rows.append(row)
        if table.changes != changes:
            self._drop_blocks()
        if size > self._header_bytes or number > self._headers:
            return None
        found = tuple(rows)
        if table.changes == changes and not self._marks:
            self._keep(block, found, end + size)
        return found

    def _updates(self, block: bytes) -> i64:
        """Heed the table size updates that the block begins with (§6.3); their length."""
        at: i64 = 0
        updates = 0
        while at < len(block) and block[at] & 0xE0 == 0x20:
            size: i64 = block[at] & 0x1F
            at += 1
            if size == 0x1F:
                size, at = _integer(block, at, 0x1F)
            updates += 1
            if size > TABLE_BYTES:
                raise HpackError(f"table size update to more than {TABLE_BYTES} bytes")
            if updates > _UPDATES:
                raise HpackError(f"more than {_UPDATES} table size updates in a block")
            self._table.resize(size)
        return at

    def _place(self, index: i64) -> i64:
        """Where an entry of the dynamic table is."""
        table = self._table
        place = len(table.entries) + STATIC_LENGTH - index
        if place < table.first:
            raise HpackError("index beyond the tables")
        return place

    def _literal(self, block: bytes, at: i64, first: i64) -> Row:
        """The literal field that begins at `at` with the byte `first` (§6.2); `_at` is behind it afterwards."""
        if first & 0xE0 == 0x20:
            raise HpackError("table size update behind a field")
        prefix: i64 = 0x3F if first >= 0x40 else 0x0F
        index = first & prefix
        at += 1
        if index == prefix:
            index, at = _integer(block, at, prefix)
        if not index:
            name = self._string(block, at, is_name=True)
            at = self._at
        elif index <= STATIC_LENGTH:
            name = STATIC[index][0]
        else:
            name = self._table.entries[self._place(index)][0]
        row: Row = (name, self._string(block, at, is_name=False))
        if first >= 0x40:
            self._table.add(row, ENTRY_OVERHEAD + len(name) + len(row[1]))
        elif first >= 0x10 and name not in SECRET_NAMES:
            self._names.mark(name)
            self._marks = True
        return row

    def _string(self, block: bytes, at: i64, *, is_name: bool) -> bytes:
        """The string literal at `at` (§5.2); `_at` is behind it afterwards."""
        if at >= len(block):
            raise HpackError("a field ends before its string")
        first: i64 = block[at]
        length = first & 0x7F
        at += 1
        if length == 0x7F:
            length, at = _integer(block, at, 0x7F)
        end = at + length
        if end > len(block):
            raise HpackError("a string is longer than its block")
        self._at = end
        if length >= _LONG:
            return self._long(block[at:end], is_coded=first >= 0x80)
        if first < 0x80:
            return block[at:end]
        return _name(block[at:end]) if is_name else decode_huffman(block[at:end])

    def _long(self, encoded: bytes, *, is_coded: bool) -> bytes:
        """A long string. It is the object of before if it came before."""
        slot: i64 = len(encoded) % _SLOTS
        if is_coded:
            slot += _SLOTS
        if self._encoded and self._encoded[slot] == encoded:
            return self._decoded[slot]
        decoded = decode_huffman(encoded) if is_coded else encoded
        size: i64 = len(encoded) + len(decoded)
        if size <= _KEPT:
            if self._kept_strings + size > _KEPT:
                self._drop_strings()
            self._kept_strings += size
            if not self._encoded:
                self._encoded, self._decoded = [b""] * (2 * _SLOTS), [b""] * (2 * _SLOTS)
            self._encoded[slot], self._decoded[slot] = encoded, decoded
        return decoded

    def _keep(self, block: bytes, rows: tuple[Row, ...], size: i64) -> None:
        """Keep a block that changed nothing; with its fields it has `size` bytes."""
        if size <= _KEPT:
            if self._kept + size > _KEPT:
                self._drop_blocks()
            self._kept += size
            if not self._blocks:
                self._blocks, self._lists = [b""] * _SLOTS, [()] * _SLOTS
            self._blocks[len(block) % _SLOTS] = block
            self._lists[len(block) % _SLOTS] = rows


def _name(encoded: bytes) -> bytes:
    """A name in the Huffman code."""
    known = _NAMES.get(encoded)
    if known is not None:
        return known
    decoded = decode_huffman(encoded)
    if len(_NAMES) >= _MOST_NAMES:
        _NAMES.clear()  # else one client could fill it, and no further name would ever be kept
    _NAMES[encoded] = decoded
    return decoded


def _integer(block: bytes, at: i64, prefix: i64) -> tuple[i64, i64]:
    """The integer (§5.1) whose prefix is full and ends before `at`, and the position behind it."""
    value = prefix
    shift: i64 = 0
    while at < len(block):
        byte: i64 = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 and value <= _MOST:
            return value, at
        if byte < 0x80 or shift > _LONGEST_SHIFT:
            raise HpackError("an integer is too large")
    raise HpackError("a block ends within an integer")
