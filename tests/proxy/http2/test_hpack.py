"""The tables of compressed fields (RFC 7541 §2.3.2): 4 KiB each way, whatever the other side says, on both sides."""

import tracemalloc

import pytest
from hpack import Decoder

from sidecar.http.message import Field
from sidecar.proxy.http2.engine import Http2Engine
from sidecar.proxy.http2.events import Unheeded
from tests.support.conversation import Conversation
from tests.support.http2_client import RawHttp2
from tests.support.http2_frames import ACK, HEADERS, PREFACE, SETTINGS, block, frame, request

WHOLE = 5
TABLE = 4096
"""SETTINGS_HEADER_TABLE_SIZE, which is not said: its initial value (RFC 9113 §6.5.2)."""
COMPRESSION_ERROR = 9
ENTRY = 2000
"""What an entry counts: two of them fit, three do not (RFC 7541 §4.1)."""
SAID = [0, 1, TABLE, 1 << 20, (1 << 32) - 1]
HEADER_BYTES, HEADERS_MOST = 32768, 100


class Heard(Unheeded):
    """Heads, by the number of their stream, and how the connection ended."""

    def __init__(self) -> None:
        self.heads: dict[int, list[Field]] = {}
        self.code: int | None = None

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        self.heads[stream] = list(fields)

    def ended(self, code: int, detail: str) -> None:
        self.code = code


def engine(heard: Heard, *, is_server: bool, said: int) -> Http2Engine:
    """One whose peer has told how large a table it has itself. A client has asked for three streams."""
    made = Http2Engine(
        heard, is_server=is_server, streams=100, window=65535, header_bytes=HEADER_BYTES, headers=HEADERS_MOST
    )
    settings = frame(SETTINGS, 0, 0, b"\0\1" + said.to_bytes(4))
    made.receive((PREFACE if is_server else b"") + settings)
    made.outgoing()
    made.receive(frame(SETTINGS, ACK, 0))
    made.deliver(100)
    if not is_server:
        for _ in range(3):
            made.request(request(), ends=True)
    made.outgoing()
    return made


def tells(one: Http2Engine) -> None:
    """All that came, and its last word where it has one."""
    one.deliver(100)
    one.outgoing()
    one.deliver(100)


def start(*, is_server: bool) -> bytes:
    """What every head begins with."""
    return block(request()) if is_server else block([(b":status", b"200")])


def remembered(name: bytes) -> bytes:
    """A field with indexing (RFC 7541 §6.2.1), which counts `ENTRY`."""
    return b"\x40" + block([(name, b"v" * (ENTRY - 32 - len(name)))])[1:]


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("is_server", [True, False], ids=["of a client", "of the API"])
def test_a_table_holds_no_more_than_it_was_said_to(said: int, *, is_server: bool) -> None:
    """What the peer says is about its own table; the one here forgets the oldest field when the third comes."""
    heard = Heard()
    one = engine(heard, is_server=is_server, said=said)
    first = start(is_server=is_server)
    one.receive(frame(HEADERS, WHOLE, 1, first + remembered(b"x-a") + remembered(b"x-b") + b"\xbf"))
    tells(one)
    assert [name for name, _ in heard.heads[1]][-3:] == [b"x-a", b"x-b", b"x-a"]
    one.receive(frame(HEADERS, WHOLE, 3, first + remembered(b"x-c") + b"\xbf"))
    tells(one)
    assert [name for name, _ in heard.heads[3]][-2:] == [b"x-c", b"x-b"]
    one.receive(frame(HEADERS, WHOLE, 5, first + b"\xc0"))
    tells(one)
    assert 5 not in heard.heads
    assert heard.code == COMPRESSION_ERROR


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("is_server", [True, False], ids=["of a client", "of the API"])
def test_nobody_makes_a_table_larger(said: int, *, is_server: bool) -> None:
    """A size update (RFC 7541 §6.3) past what was said here ends the connection; up to that it is heeded."""
    first = start(is_server=is_server)
    for update, code in ((b"\x3f\xe1\x1f", None), (b"\x3f\xe2\x1f", COMPRESSION_ERROR)):
        heard = Heard()
        one = engine(heard, is_server=is_server, said=said)
        one.receive(frame(HEADERS, WHOLE, 1, update + first))
        tells(one)
        assert heard.code == code
        assert (1 in heard.heads) is (code is None)


@pytest.mark.parametrize("said", SAID)
def test_the_sidecars_own_table_is_as_large_as_the_client_has_and_no_larger_than_ours(
    talk: Conversation, said: int
) -> None:
    """Ever new fields of answers go through it; a client with a table of a gigabyte makes none of that size here."""
    client, decoder = RawHttp2(talk, settles=False), Decoder()
    decoder.max_allowed_table_size = said
    client._hpack = decoder
    client.writes(PREFACE + frame(SETTINGS, 0, 0, b"\0\1" + said.to_bytes(4)), frame(SETTINGS, ACK, 0))
    for number in range(1, 21, 2):
        client.asks(number, request())
        value = b"%02d" % number * 500
        talk.upstreams[0].says(b"HTTP/1.1 204 No Content\r\nX-New: " + value + b"\r\n\r\n")
        assert client.status(number) == 204
        assert client.heads[number][0]["x-new"] == value.decode()
        assert decoder.header_table_size <= min(said, TABLE)


def test_heads_of_a_few_bytes_that_become_large_are_not_all_in_memory_at_once() -> None:
    """A hundred of 27,000 bytes come in one record (RFC 7541 §7.3)."""
    heard = Heard()
    one = engine(heard, is_server=True, said=TABLE)
    large = b"\x40" + block([(b"x-a", b"x" * 3900)])[1:]
    one.receive(frame(HEADERS, WHOLE, 1, block(request()) + large))
    one.deliver(100)
    flood = b"".join(
        frame(HEADERS, WHOLE, number, block(request()) + b"\xbe" * 7) for number in range(3, 201, 2)
    )
    tracemalloc.start()
    try:
        one.receive(flood)
        told = 0
        while one.has_events:
            one.deliver(1)
            told += len(heard.heads)
            heard.heads.clear()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert told == 100
    assert peak < 4 * 7 * 3900 + 10 * len(flood)
