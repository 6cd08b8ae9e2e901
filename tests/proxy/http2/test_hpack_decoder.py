"""Field blocks → fields (RFC 7541), and every decoding error by its name."""

import tracemalloc

import pytest

from sidecar.http.message import Field
from sidecar.proxy.http2.hpack import HeaderDecoder, HpackError
from sidecar.proxy.http2.hpack_names import FieldNames

GET, POST, ROOT = (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/")
FIRST = [GET, (b":scheme", b"http"), ROOT, (b":authority", b"www.example.com")]
SECOND = [*FIRST, (b"cache-control", b"no-cache")]
THIRD = [
    GET,
    (b":scheme", b"https"),
    (b":path", b"/index.html"),
    (b":authority", b"www.example.com"),
    (b"custom-key", b"custom-value"),
]
MOVED: list[Field] = [
    (b":status", b"302"),
    (b"cache-control", b"private"),
    (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    (b"location", b"https://www.example.com"),
]
COOKIE = (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")
FOUND: list[Field] = [
    (b":status", b"200"),
    MOVED[1],
    (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
    MOVED[3],
    (b"content-encoding", b"gzip"),
    COOKIE,
]


def decoder(header_bytes: int = 65536, headers: int = 100) -> HeaderDecoder:
    return HeaderDecoder(header_bytes, headers, FieldNames())


def decoded(one: HeaderDecoder, block: bytes) -> list[Field] | None:
    """The fields of a block."""
    fields = one.decode(block)
    return None if fields is None else list(fields)


def table(one: HeaderDecoder) -> list[Field]:
    """The entries of the dynamic table, by index, as a peer would find them."""
    found = []
    for index in range(62, 62 + 128):
        try:
            found += decoded(one, literal(index)) or []
        except HpackError:
            break
    return [(name, b"") for name, _ in found]


def indexed(index: int) -> bytes:
    return bytes([0x80 | index]) if index < 127 else bytes([0xFF, index - 127])


def literal(index: int) -> bytes:
    """Without indexing, and with the name of an entry; its value is empty."""
    return (bytes([index]) if index < 15 else bytes([0x0F, index - 15])) + b"\x00"


def added(name: bytes, value: bytes) -> bytes:
    """With incremental indexing, a new name, no Huffman code."""
    return b"\x40" + string(name) + string(value)


def string(text: bytes) -> bytes:
    rest = len(text) - 127
    if rest < 0:
        return bytes([len(text)]) + text
    assert rest < 1 << 14
    return bytes([127, rest & 127 | 128, rest >> 7]) + text


@pytest.mark.parametrize(
    ("block", "fields", "size"),
    [  # RFC 7541 C.2
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            [(b"custom-key", b"custom-header")],
            55,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", [(b":path", b"/sample/path")], 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", [(b"password", b"secret")], 0),
        ("82", [GET], 0),
    ],
)
def test_each_representation_of_the_standard(block: str, fields: list[Field], size: int) -> None:
    one = decoder()
    assert decoded(one, bytes.fromhex(block)) == fields
    assert one._table.size == size


@pytest.mark.parametrize(
    "blocks",
    [
        [  # RFC 7541 C.3
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [  # C.4
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ],
)
def test_requests_of_the_standard_in_plain_and_in_the_huffman_code(blocks: list[str]) -> None:
    one, sizes = decoder(), []
    heads = []
    for block in blocks:
        heads.append(decoded(one, bytes.fromhex(block)))
        sizes.append(one._table.size)
    assert heads == [FIRST, SECOND, THIRD]
    assert sizes == [57, 110, 164]
    assert table(one) == [(b"custom-key", b""), (b"cache-control", b""), (b":authority", b"")]


@pytest.mark.parametrize(
    "blocks",
    [
        [  # RFC 7541 C.5
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 "
                "3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d"
            ),
            "4803 3330 37c1 c0bf",
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 "
                "7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 "
                "6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31"
            ),
        ],
        [  # C.6
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad "
                "1718 63c7 8f0b 97c8 e9ae 82ae 43d3"
            ),
            "4883 640e ffc1 c0bf",
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 "
                "e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07"
            ),
        ],
    ],
)
def test_responses_of_the_standard_evict_what_finds_no_room(blocks: list[str]) -> None:
    one, sizes = decoder(), []
    assert decoded(one, b"\x3f\xe1\x01") == []  # a table of 256 bytes, which the examples assume
    heads = []
    for block in blocks:
        heads.append(decoded(one, bytes.fromhex(block)))
        sizes.append(one._table.size)
    assert heads == [MOVED, [(b":status", b"307"), *MOVED[1:]], FOUND]
    assert sizes == [222, 222, 215]
    assert table(one) == [(b"set-cookie", b""), (b"content-encoding", b""), (b"date", b"")]


@pytest.mark.parametrize(
    ("block", "what"),
    [
        (b"\x80", "index 0"),
        (b"\xbe", "beyond the tables"),
        (b"\xff\x00", "beyond the tables"),
        (b"\x82\xff\xff\xff\xff\x0f", "beyond the tables"),
        (b"\x7e\x01a", "beyond the tables"),
        (b"\x0f\x2f\x01a", "beyond the tables"),
        (b"\x1f\x2f\x01a", "beyond the tables"),
        (b"\xff\x80\x80\x80\x80\x80\x00", "too large"),  # zeros without end
        (b"\xff\xff\xff\xff\xff\x7f", "too large"),
        (b"\x40\x7f\xff\xff\xff\xff\x7f", "too large"),
        (b"\xff", "within an integer"),
        (b"\xff\x80", "within an integer"),
        (b"\x0f", "within an integer"),
        (b"\x3f", "within an integer"),
        (b"\x40", "ends before its string"),
        (b"\x41", "ends before its string"),
        (b"\x40\x01a", "ends before its string"),
        (b"\x40\x02a", "longer than its block"),
        (b"\x41\x02a", "longer than its block"),
        (b"\x41\xff\xff\xff\x7fa", "longer than its block"),
        (b"\x41\x84\xff\xff\xff\xff", "EOS"),
        (b"\x41\x82\x07\xff", "padding"),
        (b"\x41\x81\x00", "padding"),
        (b"\x40\x81\x00\x00", "padding"),
        (b"\x3f\xe2\x1f", "more than 4096 bytes"),
        (b"\x3f\xff\xff\x7f", "more than 4096 bytes"),
        (b"\x82\x20", "behind a field"),
        (b"\x41\x01a\x3f\xe1\x1f", "behind a field"),
        (b"\x20\x21\x22", "more than 2 table size updates"),
    ],
)
def test_every_decoding_error_has_its_name(block: bytes, what: str) -> None:
    with pytest.raises(HpackError, match=what):
        decoder().decode(block)


def test_an_error_tells_nothing_of_a_field() -> None:
    with pytest.raises(HpackError) as raised:
        decoder().decode(b"\x40\x06secret\x06secret\xfe")
    assert "secret" not in str(raised.value)


def test_the_same_block_gives_the_same_object() -> None:
    one = decoder()
    head = indexed(2) + b"\x04\x06/a?b=1"
    trailers = literal(31)
    first, last = one.decode(head), one.decode(trailers)
    assert first == (GET, (b":path", b"/a?b=1"))
    assert one.decode(head) is first
    assert one.decode(trailers) is last
    assert one.decode(head) is first


@pytest.mark.parametrize(
    "between",
    [added(b"other", b"1"), b"\x20\x3f\xe1\x1f" + added(b"other", b"1"), added(b"other", b"1" * 5000)],
    ids=["addition", "update", "emptied"],
)
def test_the_same_block_is_decoded_anew_when_the_table_has_changed(between: bytes) -> None:
    one = decoder()
    decoded(one, added(b"x", b"y"))
    block = literal(62)
    assert decoded(one, block) == [(b"x", b"")]
    decoded(one, between)
    if len(between) > 5000:
        with pytest.raises(HpackError, match="beyond"):
            decoded(one, block)
    else:
        assert decoded(one, block) == [(b"other", b"")]


def test_a_block_that_adds_to_the_table_adds_each_time() -> None:
    one = decoder()
    for _ in range(3):
        decoded(one, added(b"x", b"y"))
    assert table(one) == [(b"x", b"")] * 3


def test_a_long_value_that_comes_again_is_the_same_object() -> None:
    one = decoder()
    token = b"Bearer " + b"abc012" * 100
    first = decoded(one, b"\x10" + string(b"authorization") + string(token) + literal(4))
    again = decoded(one, literal(5) + b"\x10" + string(b"authorization") + string(token))
    assert first
    assert again
    assert first[0][1] == token
    assert again[1][1] is first[0][1]


def test_a_token_is_decoded_once_whatever_else_comes() -> None:
    one = decoder()
    token = b"\x10" + string(b"authorization") + string(b"Bearer " + b"abc012" * 100)
    seen = [decoded(one, b"\x04" + string(b"/accounts/%d" % at) + token) or [] for at in range(50)]
    assert all(fields[1][1] is seen[0][1][1] for fields in seen)


def test_nothing_is_kept_at_rest_but_the_table() -> None:
    one = decoder()
    decoded(one, added(b"x", b"y"))
    block = b"\x10" + string(b"authorization") + string(b"secret" * 20) + indexed(62)
    first = decoded(one, block)
    one.rest()
    assert not one._blocks
    assert not one._lists
    assert not one._encoded
    assert not one._decoded
    again = decoded(one, block)
    assert again == first == [(b"authorization", b"secret" * 20), (b"x", b"y")]
    assert again is not first


def test_a_list_over_its_limits_is_none_but_enters_the_table() -> None:
    for one in (decoder(header_bytes=200), decoder(headers=3)):
        block = b"".join(added(b"name-%d" % at, b"value") for at in range(10))
        assert decoded(one, block) is None
        assert decoded(one, indexed(62) + indexed(71)) == [(b"name-9", b"value"), (b"name-0", b"value")]


@pytest.mark.parametrize("most", [3, 4])
def test_the_number_of_fields_is_limited(most: int) -> None:
    fields = decoder(headers=most).decode(indexed(2) * 4)
    assert fields == ((GET,) * 4 if most == 4 else None)


@pytest.mark.parametrize("missing", [0, 1])
def test_the_size_counts_32_bytes_for_each_field(missing: int) -> None:
    block = indexed(2) + b"\x00\x03abc\x04defg"
    one = decoder(header_bytes=42 + 39 - missing)
    assert (decoded(one, block) is None) == bool(missing)


def test_an_error_behind_the_limit_is_an_error() -> None:
    with pytest.raises(HpackError, match="beyond"):
        decoder(headers=1).decode(indexed(2) * 5 + indexed(62))


def test_an_entry_named_a_thousand_times_takes_no_memory() -> None:
    one = decoder()
    decoded(one, added(b"x", b"y" * 4000))
    block = indexed(62) * 16000
    tracemalloc.start()
    try:
        assert decoded(one, block) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_what_is_kept_is_bounded() -> None:
    one = decoder()
    tracemalloc.start()
    try:
        for length in range(200, 3200):
            decoded(one, b"\x00\x01a" + string(bytes([length % 251]) * length))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100_000  # all of it would be five million


def test_evicted_entries_leave_the_memory() -> None:
    one = decoder()
    tracemalloc.start()
    try:
        for at in range(500):
            decoded(one, added(b"x", b"%04d" % at * 1000))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert decoded(one, indexed(62)) == [(b"x", b"0499" * 1000)]
    assert held < 100_000  # all of them would be two million


def test_many_additions_keep_the_order_of_the_table() -> None:
    one = decoder()
    for at in range(1000):
        decoded(one, added(b"n", b"%d" % at))
    found = decoded(one, b"".join(indexed(index) for index in range(62, 162)))
    assert found == [(b"n", b"%d" % at) for at in range(999, 899, -1)]


def test_an_update_evicts_and_two_may_come() -> None:
    one = decoder()
    decoded(one, added(b"a", b"1") + added(b"b", b"2"))
    assert decoded(one, b"\x3f\x03" + indexed(62)) == [(b"b", b"2")]  # 34 bytes: one entry
    assert table(one) == [(b"b", b"")]
    assert decoded(one, b"\x20\x3f\xe1\x1f") == []
    assert table(one) == []


def test_a_name_may_be_that_of_the_entry_which_leaves() -> None:
    one = decoder()
    decoded(one, b"\x3f\x09" + added(b"name", b"1234"))  # a table of 40 bytes, full
    assert decoded(one, b"\x7e" + string(b"5678")) == [(b"name", b"5678")]
    assert decoded(one, indexed(62)) == [(b"name", b"5678")]
