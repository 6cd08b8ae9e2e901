"""What one connection of HTTP/2 has done in a turn of the event loop, in counts: whoever sends what is dear (heads that
HPACK makes large, requests to refuse, content by a byte) waits longer, and others pass meanwhile.
"""

from collections.abc import Callable

import pytest

from sidecar.decision.denial import Reason
from sidecar.http.message import Field
from sidecar.proxy.http2.engine import HEAD_WORK, Http2Engine
from sidecar.proxy.http2.events import Unheeded
from sidecar.proxy.turns import PATIENCE
from tests.support.cleartext import DATA as RECORD
from tests.support.cleartext import seal
from tests.support.conversation import Conversation
from tests.support.http2_client import RawHttp2
from tests.support.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    block,
    frame,
    request,
)

WHOLE = END_HEADERS | END_STREAM
OTHER = b"GET /b HTTP/1.1\r\nHost: api\r\n\r\n"
LARGE: Field = (b"x-a", b"x" * 3900)
REPEATED = b"\xbe"
"""The newest field of the table once more (RFC 7541 §6.1)."""
MALFORMED = block([*request(), (b"X", b"y")])


def remembered(*fields: Field) -> bytes:
    """Literal with indexing in place of without (RFC 7541 §6.2.1)."""
    return b"".join(b"\x40" + block([one])[1:] for one in fields)


class Heads(Unheeded):
    """Counts them."""

    def __init__(self) -> None:
        self.count = 0

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        self.count += 1


def server(events: Unheeded) -> Http2Engine:
    """One that has heard the beginning of a connection, and has nothing to say."""
    engine = Http2Engine(events, is_server=True, streams=100, window=65535, header_bytes=32768, headers=100)
    engine.receive(PREFACE + frame(SETTINGS, 0, 0))
    engine.deliver(100)
    engine.outgoing()
    return engine


def resets(data: bytes) -> int:
    """How many of them are in it."""
    return data.count(b"\0\0\4\3\0")


def test_what_waits_for_its_turn_is_not_even_decoded() -> None:
    """The engine answers a malformed head with RST_STREAM as soon as it has decoded it."""
    engine = server(Unheeded())
    engine.receive(b"".join(frame(HEADERS, WHOLE, number, MALFORMED) for number in range(1, 201, 2)))
    assert resets(engine.outgoing()) <= 2
    while engine.has_events:
        before = resets(engine.outgoing())
        engine.deliver(1)
        assert resets(engine.outgoing()) - before <= 2


def test_all_of_it_is_told_in_the_end() -> None:
    heads = Heads()
    engine = server(heads)
    engine.receive(b"".join(frame(HEADERS, WHOLE, number, block(request())) for number in range(1, 201, 2)))
    told = []
    while engine.has_events:
        engine.deliver(HEAD_WORK)
        told.append(heads.count)
    assert told == list(range(1, 101))


def turns_until(talk: Conversation, is_done: Callable[[], bool]) -> int:
    """How often the event loop goes round."""
    turns = 0
    while not is_done():
        talk.loop.run_once()
        turns += 1
        assert turns < 10_000
    return turns


def is_busy(talk: Conversation) -> None:
    """Somebody else has a request under way."""
    talk.client().says(b"GET /long HTTP/1.1\r\nHost: api\r\n\r\n")


def test_heads_that_become_large_take_more_turns_than_small_ones(talk: Conversation) -> None:
    small, large = RawHttp2(talk), RawHttp2(talk)
    large.writes(frame(HEADERS, WHOLE, 1, block(request()) + remembered(LARGE)))
    small.asks(1, request())
    is_busy(talk)
    took = []
    talk.gate.refuse("/a", Reason.CREDENTIALS_MISSING)
    for client, more in ((small, b""), (large, REPEATED * 7)):
        talk.gate.asked.clear()
        heads = [frame(HEADERS, WHOLE, number, block(request()) + more) for number in range(3, 43, 2)]
        client.client.transport.arrive(seal(RECORD, b"".join(heads)))
        took.append(turns_until(talk, lambda: len(talk.gate.asked) == 20))
    assert took[1] >= 3 * took[0]


FLOODS = {
    "heads that become large": lambda number: frame(HEADERS, WHOLE, number, block(request()) + REPEATED * 7),
    "requests": lambda number: frame(HEADERS, WHOLE, number, block(request())),
    "malformed requests": lambda number: frame(HEADERS, WHOLE, number, MALFORMED),
    "requests that are taken back": lambda number: (
        frame(HEADERS, WHOLE, number, block(request())) + frame(RST_STREAM, 0, number, bytes(4))
    ),
    "requests with trailers": lambda number: (
        frame(HEADERS, END_HEADERS, number, block(request("/a", "POST")))
        + frame(HEADERS, WHOLE, number, REPEATED)
    ),
    "heads in two frames": lambda number: (
        frame(HEADERS, END_STREAM, number, block(request())) + frame(CONTINUATION, END_HEADERS, number, b"")
    ),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_request_waits_behind_few_of_a_flood(talk: Conversation, kind: str) -> None:
    """They come in one record; those of others pass after two at most have begun, or were refused."""
    client, other = RawHttp2(talk), talk.client()
    is_busy(talk)
    talk.gate.refuse("/a", Reason.CREDENTIALS_MISSING)
    client.writes(frame(HEADERS, WHOLE, 1, block(request()) + remembered(LARGE)))
    before = len(talk.observed.records) + len(talk.gate.asked)
    flood = b"".join(FLOODS[kind](number) for number in range(3, 103, 2))
    client.client.transport.arrive(seal(RECORD, flood))
    other.transport.arrive(seal(RECORD, OTHER))
    turns_until(talk, lambda: "/b" in [head.path for head in talk.gate.asked])
    assert len(talk.observed.records) + len(talk.gate.asked) - before - 1 <= 4
    talk.loop.settle()
    assert client.goaway() is None


@pytest.mark.parametrize("sound", range(9))
def test_a_malformed_request_has_a_record_wherever_in_a_turn_it_comes(talk: Conversation, sound: int) -> None:
    """Also as the last of one, by a client that goes before its next, which comes behind another's."""
    talk.gate.refuse("/a", Reason.CREDENTIALS_MISSING)
    other, client = RawHttp2(talk), RawHttp2(talk)
    heads = [frame(HEADERS, WHOLE, number, block(request())) for number in range(1, 41, 2)]
    malformed = frame(HEADERS, WHOLE, 2 * sound + 1, MALFORMED)
    other.client.transport.arrive(seal(RECORD, b"".join(heads)))
    client.client.transport.arrive(seal(RECORD, b"".join([*heads[:sound], malformed])))
    talk.loop.run_once()
    client.client.resets()
    talk.loop.settle()
    turn = 8
    assert len(talk.observed.records) == len(heads) + min(sound + 1, turn)


@pytest.mark.parametrize("how", ["it leaves", "it is ended"])
def test_the_requests_of_who_leaves_end_a_few_in_each_turn(talk: Conversation, how: str) -> None:
    """Each of them is a record, and a connection to the API to close."""
    client = RawHttp2(talk)
    for number in range(1, 201, 2):
        client.asks(number, request("/a", "POST"), ends=False)
    assert len(talk.gate.asked) == 100
    if how == "it leaves":
        client.client.transport.reset()
    else:
        client.client.transport.arrive(seal(RECORD, frame(DATA, 0, 0, b"x")))
    ended = 0
    while ended < 100:
        talk.loop.run_once()
        assert len(talk.observed.records) - ended <= 4
        ended = len(talk.observed.records)
    talk.loop.settle()
    assert {record.status for record in talk.observed.records} == {0}
    assert talk.server.under_way.count == 0
    assert all(upstream.is_closed for upstream in talk.upstreams)


def test_requests_without_an_end_of_who_leaves_are_recorded_a_few_in_each_turn(talk: Conversation) -> None:
    client = unfinished(talk, 100)
    client.client.transport.reset()
    ended = 0
    while ended < 100:
        talk.loop.run_once()
        assert len(talk.observed.records) - ended <= 4
        ended = len(talk.observed.records)


def unfinished(talk: Conversation, count: int) -> RawHttp2:
    """A client with requests that declare no content, and have not ended."""
    client = RawHttp2(talk)
    for number in range(1, 2 * count, 2):
        client.asks(number, request("/a", "POST", (b"content-length", b"0")), ends=False)
    return client


def test_an_answer_that_comes_after_the_client_has_left_is_nobodys(talk: Conversation) -> None:
    client = RawHttp2(talk)
    for number in range(1, 101, 2):
        client.asks(number, request("/a"))
    client.client.transport.reset()
    for upstream in talk.upstreams:
        upstream.transport.arrive(b"HTTP/1.1 204 No Content\r\n\r\n")
    talk.loop.settle()
    assert len(talk.observed.records) == 50
    assert talk.server.under_way.count == 0


def test_a_server_that_ends_leaves_no_record_for_later(talk: Conversation) -> None:
    client = RawHttp2(talk)
    for number in range(1, 101, 2):
        client.asks(number, request("/a"))
    talk.server.begin_drain()
    client.client.transport.reset()
    turns_until(talk, lambda: talk.server.connections == 0)
    assert len(talk.observed.records) == 50


def test_a_server_that_ends_leaves_no_record_of_requests_without_an_end_for_later(talk: Conversation) -> None:
    client = unfinished(talk, 50)
    talk.server.begin_drain()
    client.client.transport.reset()
    turns_until(talk, lambda: talk.server.connections == 0)
    assert len(talk.observed.records) == 50


def test_content_by_a_byte_goes_on_in_small_parts(talk: Conversation) -> None:
    client, other = RawHttp2(talk), talk.client()
    client.asks(1, request("/a", "POST"), ends=False)
    (upload,) = talk.upstreams
    is_busy(talk)
    client.client.transport.arrive(seal(RECORD, frame(DATA, 0, 1, b"x") * 1600))
    talk.loop.run_once()
    other.transport.arrive(seal(RECORD, OTHER))
    turns_until(talk, lambda: len(talk.upstreams) > 2)
    assert upload.hears_all().count(b"x\r\n") <= 56
    talk.loop.settle()
    assert client.goaway() is None


def test_who_is_alone_has_longer_turns(talk: Conversation) -> None:
    """And no more, as soon as somebody else has a request under way."""
    talk.gate.refuse("/a", Reason.CREDENTIALS_MISSING)
    took = []
    for clients in range(2):
        client = RawHttp2(talk)
        for _ in range(clients):
            is_busy(talk)
        talk.gate.asked.clear()
        heads = [frame(HEADERS, WHOLE, number, block(request())) for number in range(1, 81, 2)]
        client.client.transport.arrive(seal(RECORD, b"".join(heads)))
        took.append(turns_until(talk, lambda: len(talk.gate.asked) == 40))
    assert took[0] <= 8
    assert took[1] >= 15


@pytest.mark.parametrize(
    ("before", "is_long"),
    [
        (["/a"], True),
        (["/a", "/refused"], False),
        (["/refused", "/a"], True),
        (["/public"], False),
        ([], False),
    ],
)
def test_whoever_was_just_permitted_with_a_token_has_longer_turns_beside_others(
    talk: Conversation, before: list[str], *, is_long: bool
) -> None:
    """Many answers that go out together cost less."""
    talk.gate.refuse("/refused", Reason.CREDENTIALS_MISSING)
    talk.gate.verdicts["/public"] = talk.gate.permit(token=None)
    client = RawHttp2(talk)
    for at, path in enumerate(before):
        client.asks(2 * at + 1, request(path))
        if path != "/refused":
            talk.upstreams[0].says(b"HTTP/1.1 204 No Content\r\n\r\n")
    is_busy(talk)
    talk.loop.settle()
    talk.gate.asked.clear()
    talk.ponders("/b")  # else each would also pay for a connection to the API
    heads = [frame(HEADERS, WHOLE, number, block(request("/b"))) for number in range(11, 75, 2)]
    client.client.transport.arrive(seal(RECORD, b"".join(heads)))
    took = turns_until(talk, lambda: len(talk.gate.asked) == 32)
    assert took <= 6 if is_long else took >= 12


def test_who_takes_all_requests_back_stands_with_those_who_are_always_refused(talk: Conversation) -> None:
    """As over HTTP/1.1: however many they are, each turn of the event loop serves one of them."""
    crowd, honest = [RawHttp2(talk) for _ in range(10)], talk.client()
    for client in crowd:
        for number in range(1, 2 * PATIENCE + 1, 2):
            client.asks(number, request())
            client.writes(frame(RST_STREAM, 0, number, bytes(4)))
    talk.gate.asked.clear()
    last = frame(HEADERS, WHOLE, 2 * PATIENCE + 1, block(request()))
    for client in crowd:
        client.client.transport.arrive(seal(RECORD, last))
    honest.transport.arrive(seal(RECORD, OTHER))
    talk.loop.settle()
    assert [head.path for head in talk.gate.asked].index("/b") <= 1
    assert len(talk.gate.asked) == 11


def test_requests_that_do_not_end_in_time_are_answered_a_few_in_each_turn(talk: Conversation) -> None:
    """They declare no content, and wait for the end of their stream. Each is an answer and a record, and all of many
    connections may become due at once.
    """
    client, other = RawHttp2(talk), talk.client()
    head = block(request("/a", "POST", (b"content-length", b"0")))
    client.writes(b"".join(frame(HEADERS, END_HEADERS, number, head) for number in range(1, 201, 2)))
    assert not talk.gate.asked
    talk.loop.skip_time(11.0)
    ended = 0
    other.transport.arrive(seal(RECORD, OTHER))
    while ended < 100:
        talk.loop.skip_time(0.05)
        talk.loop.run_once()
        assert len(talk.observed.records) - ended <= 5
        ended = len(talk.observed.records)
    talk.loop.settle()
    assert {record.reason for record in talk.observed.records} == {Reason.REQUEST_TIMEOUT}
    assert [head.path for head in talk.gate.asked] == ["/b"]
    assert talk.server.under_way.count == 1
