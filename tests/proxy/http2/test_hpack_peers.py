"""Header compression beside that of another implementation: both understand each other, and refuse the same."""

import random
from collections.abc import Iterator

import pytest
from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple, OversizedHeaderListError

from sidecar.http.message import Field
from sidecar.proxy.http2.hpack import HeaderDecoder, HpackError
from sidecar.proxy.http2.hpack_encoder import HeaderEncoder
from sidecar.proxy.http2.hpack_names import FieldNames

LIMIT = 65536
HEADS = 60
NAMES = (b":authority", b":path", b"accept", b"content-type", b"date", b"traceparent", b"x-request-id", b"te")
FIXED = (
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b"te", b"trailers"),
)


def heads(chance: random.Random) -> Iterator[list[Field]]:
    """Heads of one connection: most of their fields come again, some have new values, some are rare or large."""
    known: list[Field] = [(chance.choice(NAMES), chance.randbytes(chance.randrange(40))) for _ in range(12)]
    last: list[Field] = list(known[:6])
    for _ in range(HEADS):
        kind = chance.random()
        if kind < 0.2:
            head = list(last)
        elif kind < 0.6:
            head = list(last)
            if head:
                at = chance.randrange(len(head))
                head[at] = (head[at][0], b"%d" % chance.randrange(30))
        else:
            head = [chance.choice((*known, *FIXED)) for _ in range(chance.randrange(12))]
            head.append((b"x-%d" % chance.randrange(300), chance.randbytes(chance.choice((3, 70, 130, 900)))))
        if chance.random() < 0.1:
            head.append((b"authorization", b"Bearer " + b"abc%d" % chance.randrange(3) * 40))
        last = head
        yield head


@pytest.mark.parametrize("seed", range(60))
def test_what_the_other_encodes_is_decoded(seed: int) -> None:
    chance = random.Random(seed)
    encoder, decoder = Encoder(), HeaderDecoder(LIMIT, 100, FieldNames())
    for head in heads(chance):
        if chance.random() < 0.05:
            encoder.header_table_size = chance.choice((0, 60, 500, 4096))
        sent = [NeverIndexedHeaderTuple(*field) if chance.random() < 0.1 else field for field in head]
        assert decoder.decode(encoder.encode(sent, huffman=chance.random() < 0.7)) == tuple(head)
        entries = [tuple(one) for one in encoder.header_table.dynamic_entries]
        table = decoder._table
        assert list(reversed(table.entries[table.first :])) == entries
        assert table.size == encoder.header_table._current_size
        if chance.random() < 0.05:
            decoder.rest()


@pytest.mark.parametrize("seed", range(60))
def test_the_other_decodes_what_is_encoded(seed: int) -> None:
    chance = random.Random(seed)
    encoder, decoder = HeaderEncoder(FieldNames()), Decoder()
    for head in heads(chance):
        for _ in range(chance.choice((0, 0, 0, 0, 0, 0, 0, 1, 2, 3))):
            decoder.max_allowed_table_size = size = chance.choice((0, 60, 500, 4096, 10000))
            encoder.resize(size)
        # Only what was announced last holds for the other; the smallest in between is checked by name elsewhere.
        assert [tuple(one) for one in decoder.decode(encoder.encode(head), raw=True)] == head
        entries = [tuple(one) for one in decoder.header_table.dynamic_entries]
        table = encoder._table
        assert list(reversed(table.entries[table.first :])) == entries
        if chance.random() < 0.05:
            encoder.rest()


class Both:
    """Two decoders that are given the same blocks."""

    def __init__(self) -> None:
        self.own = HeaderDecoder(LIMIT, 1 << 20, FieldNames())
        self.other = Decoder(LIMIT)

    def refused(self, block: bytes) -> bool:
        """Give both a block, and compare; whether it was refused."""
        own = self._own(block)
        other = self._other(block)
        assert own == other, block.hex()
        return not isinstance(own, list)

    def _own(self, block: bytes) -> list[Field] | str:
        try:
            fields = self.own.decode(block)
        except HpackError:
            return "error"
        return "oversized" if fields is None else list(fields)

    def _other(self, block: bytes) -> list[Field] | str:
        try:
            return [(one[0], one[1]) for one in self.other.decode(block, raw=True)]
        except OversizedHeaderListError:
            return "oversized"
        except HPACKError:
            return "error"


def test_more_than_two_size_updates_are_refused_by_this_one_alone() -> None:
    """RFC 7541 §4.2 lets an encoder say the smallest size and the last one, not more; the other does not count."""
    both = Both()
    assert both._other(b"\x20\x20\x20") == []
    assert both._own(b"\x20\x20\x20") == "error"


@pytest.mark.parametrize("seed", range(60))
def test_both_refuse_the_same_blocks(seed: int) -> None:
    chance = random.Random(seed)
    refused = 0
    encoder, both = Encoder(), Both()
    for head in heads(chance):
        block = encoder.encode(head, huffman=chance.random() < 0.7)
        if chance.random() < 0.3:
            block = mutated(chance, block)
        if both.refused(block):
            refused += 1
            encoder, both = Encoder(), Both()
    assert refused


def mutated(chance: random.Random, block: bytes) -> bytes:
    """The block with some bytes changed, inserted, or cut off."""
    octets = bytearray(block)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(octets) + 1)
        octets[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        if octets and chance.random() < 0.4:
            octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    if chance.random() < 0.2:
        del octets[chance.randrange(len(octets) + 1) :]
    if chance.random() < 0.2:
        octets[:0] = chance.choice(
            (b"\x20", b"\x3f\xe1\x1f", b"\x20\x3f\x00", b"\x3f\xe2\x1f", b"\x80", b"\xbe")
        )
    return bytes(octets)
