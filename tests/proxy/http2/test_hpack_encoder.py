"""Fields → field blocks (RFC 7541): what enters the table, what never does, and what the peer may ask of its size."""

import tracemalloc

import pytest
from hpack import Decoder, Encoder, NeverIndexedHeaderTuple

from sidecar.http.message import Field
from sidecar.proxy.http2 import hpack_names
from sidecar.proxy.http2.engine import Http2Engine
from sidecar.proxy.http2.events import Unheeded
from sidecar.proxy.http2.hpack import HeaderDecoder
from sidecar.proxy.http2.hpack_encoder import HeaderEncoder
from sidecar.proxy.http2.hpack_names import SECRET_NAMES, VARYING_NAMES, FieldNames, encoded_integer
from tests.support.http2_frames import HEADERS, OPENING, block, frame, request

HEAD: list[Field] = [
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"server", b"api/1"),
    (b"x-frame", b"deny"),
]
TRAILERS: list[Field] = [(b"grpc-status", b"0"), (b"grpc-message", b"")]
TOKEN = b"Bearer " + b"abc" * 20
JWT = b"eyJhbGciOiJub25lIn0"


class Peer:
    """An encoder and the decoder of its peer."""

    def __init__(self) -> None:
        self.names = FieldNames()
        self.encoder = HeaderEncoder(self.names)
        self.decoder = Decoder(1 << 20)

    def send(self, fields: list[Field]) -> bytes:
        """The block, after the peer has read it rightly."""
        block = self.encoder.encode(fields)
        assert [tuple(one) for one in self.decoder.decode(block, raw=True)] == fields
        entries = self.decoder.header_table.dynamic_entries
        table = self.encoder._table
        assert list(reversed(table.entries[table.first :])) == [tuple(one) for one in entries]
        return block

    def resize(self, size: int) -> None:
        """The peer announces a size, and has it acknowledged."""
        self.decoder.max_allowed_table_size = size
        self.encoder.resize(size)


@pytest.mark.parametrize(
    ("value", "prefix", "octets"),
    [(10, 31, [10]), (1337, 31, [31, 154, 10]), (42, 255, [42]), (31, 31, [31, 0]), (158, 31, [31, 127])],
)  # RFC 7541 C.1, and the borders
def test_integers_are_those_of_the_standard(value: int, prefix: int, octets: list[int]) -> None:
    assert encoded_integer(value, prefix, 0) == bytes(octets)


def test_a_field_of_the_static_table_is_one_byte() -> None:
    peer = Peer()
    assert peer.send([(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/")]) == b"\x82\x87\x84"


def test_a_field_enters_the_table_the_second_time() -> None:
    peer = Peer()
    field = [(b"x-one", b"two")]
    assert peer.send(field) == b"\x00\x05x-one\x03two"
    assert peer.send([(b"other", b"1"), *field]) == b"\x00\x05other\x011\x40\x05x-one\x03two"
    assert peer.send(field) == b"\xbe"


def test_a_field_whose_value_changes_never_enters_the_table() -> None:
    peer = Peer()
    for at in range(50):
        block = peer.send([(b":path", b"/%d" % at), (b"date", b"day %d" % at)])
        assert block[:2] == b"\x04" + bytes([len(b"/%d" % at)])
    assert peer.encoder._table.size == 0


def test_names_of_the_static_table_are_indexed_by_their_first_place() -> None:
    peer = Peer()
    assert peer.send([(b":method", b"PUT")]) == b"\x02\x03PUT"
    assert peer.send([(b"www-authenticate", b"Basic")]) == b"\x0f\x2e\x05Basic"


@pytest.mark.parametrize("name", sorted(SECRET_NAMES))
def test_secrets_are_never_indexed(name: bytes) -> None:
    peer = Peer()
    for _ in range(4):
        block = peer.send([(b":path", b"/"), (name, b"short")])
        _, found = peer.decoder.decode(block, raw=True)
        assert isinstance(found, NeverIndexedHeaderTuple)
        assert block[1] & 0xF0 == 0x10
    assert peer.encoder._table.size == 0


@pytest.mark.parametrize("name", sorted(VARYING_NAMES))
def test_a_field_that_seldom_comes_again_never_enters_the_table(name: bytes) -> None:
    peer = Peer()
    blocks = {peer.send([(b":path", b"/"), (name, b"17")]) for _ in range(4)}
    assert len(blocks) == 1
    assert peer.encoder._table.size == 0


# --- names that a peer sent never-indexed ----------------------------------------------------------


PIN: Field = (b"x-account-pin", b"1234")


def never_indexed(*names: bytes) -> bytes:
    """A block of fields that are sent so."""
    fields = [NeverIndexedHeaderTuple(name, b"v") for name in names]
    return Encoder().encode(fields, huffman=False)


def is_indexed(encoder: HeaderEncoder, field: Field) -> bool:
    """Whether a field that comes again and again enters the table."""
    blocks = [encoder.encode([(b":path", b"/"), field]) for _ in range(3)]
    return len(blocks[-1]) == 2


def test_what_one_peer_sent_never_indexed_is_sent_on_so() -> None:
    """RFC 7541 §6.2.3: "it MUST use the same representation to forward this header field"."""
    peer = Peer()
    sender = NeverIndexedHeaderTuple(*PIN)
    received = HeaderDecoder(8192, 50, peer.names).decode(Encoder().encode([sender], huffman=False))
    assert received == (PIN,)
    for _ in range(3):
        block = peer.send(list(received))
        assert block[0] == 0x10
    assert peer.encoder._table.size == 0


def test_what_came_otherwise_before_is_sent_on_never_indexed_too() -> None:
    peer = Peer()
    fields: list[Field] = [(b":path", b"/"), PIN]
    for _ in range(3):
        peer.send(fields)
    assert len(peer.send(fields)) == 2
    HeaderDecoder(8192, 50, peer.names).decode(never_indexed(PIN[0]))
    for _ in range(3):
        assert peer.send(fields)[1] == 0x10


def test_never_indexed_in_requests_says_nothing_of_responses() -> None:
    """A client would have a say in the responses to all others."""

    class Nobody(Unheeded):
        pass

    engine = Http2Engine(Nobody(), is_server=True, streams=100, window=65535, header_bytes=32768, headers=100)
    name = b"x-of-this-test-alone"
    engine.receive(OPENING + frame(HEADERS, 5, 1, block(request()) + never_indexed(name)))
    engine.deliver(100)
    assert is_indexed(HeaderEncoder(hpack_names.RESPONSES), (name, b"v"))
    assert is_indexed(engine._encoder, (name, b"v"))
    assert not is_indexed(HeaderEncoder(hpack_names.REQUESTS), (name, b"v"))


def test_names_sent_never_indexed_are_bounded_and_past_that_all_count_as_such() -> None:
    """Until some are forgotten: none on its way is indexed because of others that were many."""
    names = FieldNames()
    encoder = HeaderEncoder(names)
    assert is_indexed(encoder, PIN)
    for at in range(5000):
        names.mark(b"x-%d" % at)
    names.mark(b"y" * 5000)
    assert len(names._marked) <= 1024
    assert max(map(len, names._marked)) <= 64
    for field in (PIN, (b"x-4999", b"1"), (b"y" * 5000, b"1")):
        assert not is_indexed(encoder, field)


def test_names_that_nobody_sends_never_indexed_any_more_are_indexed_again() -> None:
    """One client cannot keep the fields of others out of the tables for long; one that goes on sending a name so is
    heeded as long, also if it sends the same block each time.
    """
    names = FieldNames()
    encoder, decoder = HeaderEncoder(names), HeaderDecoder(65536, 2000, names)
    decoder.decode(never_indexed(*(b"x-%d" % at for at in range(1500)), PIN[0]))
    assert not is_indexed(encoder, PIN)
    for _ in range(3):
        names.blocks_left = 1
        decoder.decode(never_indexed(PIN[0]))
        assert not is_indexed(encoder, PIN)
    assert is_indexed(encoder, (b"x-1", b"v"))
    assert is_indexed(encoder, (b"server", b"api"))
    for _ in range(3):
        names.blocks_left = 1
        encoder.encode([])
    assert is_indexed(encoder, PIN)
    assert not names._marked
    assert not names._marked_before


def test_names_that_are_in_no_use_cost_nobody_what_is_remembered() -> None:
    """However many of them one client sends never-indexed, and although names in use are no longer known."""
    peer = Peer()
    for _ in range(3):
        peer.send(HEAD)
    block = peer.send(HEAD)
    for at in range(1000):
        peer.names.mark(b"x-%d" % at)
    assert peer.send(HEAD) is block
    for at in range(2000):
        peer.names.noted(b"y-%d" % at)
    peer.names.mark(b"server")
    assert len(peer.send(HEAD)) > len(block)


@pytest.mark.parametrize("value", [TOKEN, TOKEN.lower(), b"Basic " + b"a" * 12, b"DPoP " + JWT, JWT])
def test_what_looks_like_credentials_is_never_indexed_under_any_name(value: bytes) -> None:
    peer = Peer()
    blocks = {peer.send([(b"x-forwarded-token", value)]) for _ in range(3)}
    assert blocks == {b"\x10\x11x-forwarded-token" + bytes([len(value)]) + value}


def test_a_field_over_a_quarter_of_the_table_is_not_added() -> None:
    for length, size in ((1024 - 33, 1024), (1025 - 33, 0)):
        peer = Peer()
        for at in range(3):
            peer.send([(b"x", b"y" * length), (b"z", b"%d" % at)])
        assert peer.encoder._table.size == size


def test_the_same_fields_are_the_same_block_when_the_table_is_settled() -> None:
    peer = Peer()
    for _ in range(3):
        peer.send(HEAD)
        peer.send(TRAILERS)
    head, trailers = peer.send(HEAD), peer.send(TRAILERS)
    assert len(head) == len(HEAD)
    assert len(trailers) == len(TRAILERS)
    assert peer.encoder.encode(list(HEAD)) is head
    assert peer.encoder.encode(list(TRAILERS)) is trailers


def test_one_other_value_leaves_the_rest_as_it_was() -> None:
    peer = Peer()
    for _ in range(3):
        peer.send(HEAD)
    for at in range(5):
        block = peer.send([*HEAD[:2], (b"server", b"api/%d" % (at + 5)), HEAD[3]])
        assert len(block) == 3 + 2 + 1 + len(b"api/5")
    assert len(peer.send(HEAD)) == 4


def test_an_addition_in_the_midst_renews_what_stands_behind_it() -> None:
    peer = Peer()
    for _ in range(3):
        peer.send(HEAD)
    for value in (b"a", b"a", b"a", b"b", b"b", b"b"):
        peer.send([HEAD[0], HEAD[1], (b"server", value), HEAD[3]])
        peer.send(TRAILERS)


def test_a_size_that_stays_is_not_said() -> None:
    for size in (4096, 65536, (1 << 32) - 1):
        peer = Peer()
        peer.resize(size)
        assert peer.send([(b":method", b"GET")]) == b"\x82"


def test_a_smaller_size_is_said_once_and_evicts() -> None:
    peer = Peer()
    for _ in range(3):
        peer.send(HEAD)
    peer.resize(100)
    assert peer.send(HEAD)[:2] == b"\x3f\x45"
    assert peer.send(HEAD)[0] == 0x88
    assert peer.encoder._table.size <= 100


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([0], b"\x20"),
        ([0, 4096], b"\x20\x3f\xe1\x1f"),
        ([0, 65536], b"\x20\x3f\xe1\x1f"),
        ([100, 30, 200], b"\x3e\x3f\xa9\x01"),
        ([200, 100], b"\x3f\x45"),
        ([65536, 4096], b""),
    ],
)
def test_the_smallest_and_the_last_size_are_said(sizes: list[int], said: bytes) -> None:
    peer = Peer()
    for _ in range(3):
        peer.send(HEAD)
    for size in sizes:
        peer.resize(size)
    block = peer.send([(b":method", b"GET")])
    assert block == said + b"\x82"
    assert peer.send(HEAD)[0] == 0x88


def test_a_table_of_nothing_can_grow_again() -> None:
    peer = Peer()
    peer.resize(0)
    for _ in range(3):
        peer.send(HEAD)
    assert peer.encoder._table.size == 0
    peer.resize(1000)
    assert peer.send(HEAD)[:3] == b"\x3f\xc9\x07"
    for _ in range(3):
        peer.send(HEAD)
    assert peer.encoder._table.size > 0


def test_no_fields_are_an_empty_block() -> None:
    assert Peer().send([]) == b""


def test_values_of_any_length_and_bytes_are_sent() -> None:
    peer = Peer()
    for length in (0, 1, 126, 127, 128, 254, 255, 256, 20000):
        for _ in range(3):
            peer.send([(b"x" * (length or 1), bytes(range(256)) * 80 + b"y" * length), (b"z", b"y" * length)])


def test_many_fields_of_many_values_keep_the_table_right() -> None:
    peer = Peer()
    for at in range(2000):
        peer.send([(b":path", b"/%d" % (at // 2)), (b"x-%d" % (at % 7), b"%d" % (at // 3)), *HEAD[1:]])
    assert len(peer.encoder._numbers) <= 160


def test_nothing_is_kept_at_rest_but_the_table() -> None:
    peer = Peer()
    fields = [(b":path", b"/"), (b"authorization", TOKEN)]
    peer.send(fields)
    peer.send([(b"grpc-status", b"0"), (b"authorization", TOKEN)])
    peer.encoder.rest()
    for last in peer.encoder._last:
        assert not (last.names)
        assert not (last.values)
        assert not (last.parts)
        assert not (last.block)
    peer.send(fields)


def test_what_is_kept_is_bounded() -> None:
    peer = HeaderEncoder(FieldNames())
    tracemalloc.start()
    try:
        for at in range(300):
            peer.encode([(b"x-%d" % one, b"%d" % at * 100) for one in range(100)])
            peer.encode([(b":path", b"/%d" % at * 5000)])
            peer.encode([(b":path", b"/")])
            peer.encode([(b":path", b"/%d" % at * 5000)])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 150_000  # all of it would be millions
