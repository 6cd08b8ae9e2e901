"""Encodes heads and trailers as field blocks (RFC 7541), without the Huffman code: its bytes are not worth its work.

Theory of operation. A head is mostly like the one before. Its fields are compared with those, place by place: what is
equal has its encoded part ready, and where all is equal so is the block. Trailers, and heads of another number of
fields, are remembered apart, for they take turns. The parts hold as long as the table does not change. It changes
rarely: a field enters it when it comes a second time, so dates, identifiers and paths with numbers, which never come
again, do not push out the others.

Secrets never enter the table, neither here nor at an intermediary behind the peer (§7.1.3). The memory of what came
once holds hashes, no fields.
"""

from typing import Final

from sidecar.http.message import Field
from sidecar.proxy.http2.hpack_names import FieldNames, encoded_integer, length_bytes, named
from sidecar.proxy.http2.hpack_tables import (
    ENTRY_OVERHEAD,
    STATIC,
    STATIC_LENGTH,
    TABLE_BYTES,
    DynamicTable,
    Row,
)
from sidecar.proxy.native import i64

_SCHEMES: Final = frozenset({b"basic ", b"bearer", b"dpop e"})
"""What the values of credentials begin with, in whichever field."""
_JWT: Final = b"eyJ"
"""What a JWT begins with: an object in base64url."""
_SHORTEST_SECRET: Final = 16
_SHARE: Final = 4
"""An entry that needs more than this part of the table is not added: it would push out too many."""
_MOST_NUMBERS: Final = 160
"""Fields that are known at once: the table has 124 at most, the others came once."""
_ONCE: Final = -1
"""The number of a field that came once."""
_MOST_FIELDS: Final = 64
_MOST_KEPT: Final = 4096
"""Bytes of a block that is kept."""
_KINDS: Final = 4
_UNSETTLED: Final = b""
"""In place of the name of a field that will enter the table when it comes again."""


_INDEXED: Final = [
    encoded_integer(index, 0x7F, 0x80) for index in range(STATIC_LENGTH + 1 + TABLE_BYTES // ENTRY_OVERHEAD)
]
"""The representation of each index that there can be (§6.1)."""
_STATIC_FIELDS: Final = {row: _INDEXED[index] for index, row in enumerate(STATIC) if index}
_HASH_BITS: Final = 0x3FFFFFFF
"""The bits of a hash that count: a small number is cheaper to look up."""


_NONE: Final[list[bytes]] = []
"""Shared, and never appended to."""


class LastBlock:
    """The fields of the last block of its kind, and what they were encoded to. A name is empty where the field would
    now be encoded otherwise.
    """

    __slots__ = ("block", "names", "parts", "values")

    def __init__(self) -> None:
        self.names, self.values, self.parts = _NONE, _NONE, _NONE
        self.block = b""

    def forget(self) -> None:
        """Keep nothing."""
        self.names, self.values, self.parts, self.block = _NONE, _NONE, _NONE, b""


_IDLE: Final = [LastBlock() for _ in range(_KINDS + 1)]
"""Nothing is remembered. Shared, and never changed: an idle connection has none of its own."""


class HeaderEncoder:
    """Encodes the blocks of one direction of a connection; they are sent in their order."""

    __slots__ = (
        "_changes", "_is_settled", "_last", "_lowest", "_names", "_noted", "_numbers", "_size", "_table",
    )  # fmt: skip

    def __init__(self, names: FieldNames) -> None:
        """`names` are those of the direction: `REQUESTS` or `RESPONSES`."""
        self._names = names
        self._noted = names.known
        self._changes = names.changes
        """`changes` of the names when a block was encoded last."""
        self._table = DynamicTable()
        self._numbers: dict[int, int] = {}
        """By the hash of a field, how many were added to the table before it; it may have left since."""
        self._is_settled = True
        """Whether the field that was encoded last is encoded the same the next time, unless the table changes."""
        self._last = _IDLE
        """Heads by their number of fields, and trailers."""
        self._size = self._lowest = TABLE_BYTES
        """The maximum size that the peer asked for last, and the smallest since the last block."""

    def resize(self, size: int) -> None:
        """The peer sent SETTINGS_HEADER_TABLE_SIZE; the next block says what becomes of the table (§4.2)."""
        self._size = min(size, TABLE_BYTES)
        self._lowest = min(self._size, self._lowest)

    def rest(self) -> None:
        """The connection is idle: keep nothing but the table and hashes."""
        self._forget()

    def encode(self, fields: list[Field]) -> bytes:
        """The field block of a head or of trailers."""
        names = self._names
        names.blocks_left -= 1
        if names.blocks_left <= 0 or names.changes != self._changes:
            self._names_changed()
        updates = self._updates()
        is_head = bool(fields) and fields[0][0].startswith(b":")
        kind = len(fields) % _KINDS if is_head else _KINDS
        last = self._last[kind]
        if len(fields) == len(last.names):
            return updates + self._again(fields, last) if updates else self._again(fields, last)
        return updates + self._anew(fields, kind)

    def _again(self, fields: list[Field], last: LastBlock) -> bytes:
        """Fields as many as last time."""
        names, values, parts = last.names, last.values, last.parts
        changes = self._table.changes
        at: i64 = 0
        first: i64 = -1
        behind: i64 = 0  # the places of the first field that has changed, and behind the last one
        offset: i64 = 0
        begin: i64 = 0
        end: i64 = 0
        while at < len(fields):
            name, value = fields[at]
            size: i64 = len(parts[at])
            if names[at] != name or values[at] != value:
                parts[at] = self._part(name, value)
                names[at], values[at] = name if self._is_settled else _UNSETTLED, value
                if self._table.changes != changes:
                    return self._rest_anew(fields, parts[: at + 1])
                if first < 0:
                    first, begin = at, offset
                behind, end = at + 1, offset + size
            offset += size
            at += 1
        block = last.block
        if first >= 0:
            block = b"%b%b%b" % (block[:begin], b"".join(parts[first:behind]), block[end:])
            last.block = block
            if len(block) > _MOST_KEPT:
                last.forget()
        return block

    def _anew(self, fields: list[Field], kind: int) -> bytes:
        """Fields of which nothing is known."""
        changes = self._table.changes
        names: list[bytes] = []
        parts: list[bytes] = []
        for name, value in fields:
            parts.append(self._part(name, value))
            names.append(name if self._is_settled else _UNSETTLED)
        block = b"".join(parts)
        if self._table.changes != changes:
            self._forget()
        elif len(fields) <= _MOST_FIELDS and len(block) <= _MOST_KEPT:
            if self._last is _IDLE:
                self._last = [LastBlock() for _ in _IDLE]
            last = self._last[kind]
            last.names, last.values = names, [value for _, value in fields]
            last.parts, last.block = parts, block
        return block

    def _rest_anew(self, fields: list[Field], parts: list[bytes]) -> bytes:
        """The fields behind one that was added to the table: the parts that are kept hold no longer."""
        self._forget()
        for name, value in fields[len(parts) :]:
            parts.append(self._part(name, value))
        return b"".join(parts)

    def _forget(self) -> None:
        self._last = _IDLE

    def _names_changed(self) -> None:
        """A part that is remembered may be of a name that has become secret, or is no longer."""
        names = self._names
        if names.blocks_left <= 0:
            names.age()
        if names.changes != self._changes:
            self._changes = names.changes
            self._forget()

    def _part(self, name: bytes, value: bytes) -> bytes:
        """One field, encoded (§6)."""
        self._is_settled = True
        row: Row = (name, value)
        kind = self._noted.get(name) or self._names.noted(name)
        if not value or kind.has_values:
            part = _STATIC_FIELDS.get(row)
            if part is not None:
                return part
        if kind.is_secret or kind.varies:
            return _literal(kind.literal, value)
        if _is_secret(value):
            return _literal(named(name, 0x0F, 0x10), value)
        size = ENTRY_OVERHEAD + len(name) + len(value)
        if size * _SHARE <= self._table.most:
            key: i64 = hash(row)
            key &= _HASH_BITS
            number = self._numbers.get(key)
            if number is not None:
                return self._known(row, size, key, number)
            self._note(key, _ONCE)
            self._is_settled = False
        return _literal(kind.literal, value)

    def _known(self, row: Row, size: int, key: int, number: int) -> bytes:
        """A field that came before, or one that has its hash."""
        table = self._table
        name, value = row[0], row[1]
        place = number - table.dropped
        if place < table.first:
            table.add(row, size)
            self._note(key, table.dropped + len(table.entries) - 1)
            return _literal(named(name, 0x3F, 0x40), value)
        found = table.entries[place]
        if found[0] == name and found[1] == value:
            return _INDEXED[STATIC_LENGTH + len(table.entries) - place]
        return _literal(named(name, 0x0F, 0), value)

    def _note(self, key: int, number: int) -> None:
        """Keep the number of a field; if they are many, those that are not in the table are dropped."""
        if len(self._numbers) >= _MOST_NUMBERS:
            oldest = self._table.dropped + self._table.first
            self._numbers = {one: place for one, place in self._numbers.items() if place >= oldest}
        self._numbers[key] = number

    def _updates(self) -> bytes:
        """Set the table's size, and say so at the beginning of a block (§6.3)."""
        table, lowest, size = self._table, self._lowest, self._size
        if lowest == size == table.most:
            return b""
        said = b""
        if lowest < size and lowest < table.most:
            table.resize(lowest)
            said = encoded_integer(lowest, 0x1F, 0x20)
        if size != table.most:
            table.resize(size)
            said += encoded_integer(size, 0x1F, 0x20)
        self._lowest = size
        if said:
            self._forget()
        return said


def _is_secret(value: bytes) -> bool:
    """Whether a value looks like credentials."""
    if len(value) < _SHORTEST_SECRET or value[0] not in (0x65, 0x62, 0x42, 0x64, 0x44):  # e, b, B, d, D
        return False
    return value.startswith(_JWT) or value[:6].lower() in _SCHEMES


def _literal(beginning: bytes, value: bytes) -> bytes:
    """A literal field: its name as it was begun, and its value (§6.2)."""
    return b"%b%b%b" % (beginning, length_bytes(value), value)
