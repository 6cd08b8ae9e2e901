"""What one client or upstream sends at once costs no more at once than a bounded share: the others have their turn.

Counted, not timed: requests begun, bytes read, bytes held.
"""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.denial import Reason
from sidecar.http.message import MalformedResponse
from sidecar.proxy.client.http1_reader import RequestReader
from sidecar.proxy.configuration import Limits
from sidecar.proxy.exchange.tunnel import FrameTracker
from sidecar.proxy.turns import PATIENCE
from sidecar.proxy.upstream.http1_reader import ResponseReader
from tests.support.cleartext import DATA, HANDSHAKE, CleartextEngine, seal
from tests.support.conversation import Client, Conversation
from tests.support.http2_client import Got, Http2Client
from tests.support.http2_frames import request

SHORTEST = b"GET / HTTP/1.1\r\nHost:a\r\n\r\n"
OTHER = b"GET /other HTTP/1.1\r\nHost: api\r\n\r\n"


def says_with(talk: Conversation, greedy: Client, data: bytes, honest: Client) -> None:
    """Both are read in the same turn, the greedy one first."""
    greedy.transport.arrive(seal(DATA, data))
    honest.transport.arrive(seal(DATA, OTHER))
    talk.loop.settle()


def test_pipelined_requests_of_one_client_let_others_pass(talk: Conversation) -> None:
    talk.gate.refuse("/", Reason.CREDENTIALS_MISSING)
    talk.gate.refuse("/other", Reason.CREDENTIALS_MISSING)
    greedy, honest = talk.client(), talk.client()
    says_with(talk, greedy, SHORTEST * 2000, honest)
    assert [head.path for head in talk.gate.asked].index("/other") <= 1
    assert greedy.statuses() == [401] * 2000
    assert honest.statuses() == [401]
    assert len(talk.outcomes) == 2001


@pytest.mark.parametrize(("refused", "asks"), [(0, PATIENCE), (PATIENCE, 50)])
def test_pipelined_requests_of_several_clients_take_turns(
    refused: int, asks: int, talk: Conversation
) -> None:
    """In either line."""
    talk.gate.refuse("/", Reason.CREDENTIALS_MISSING)
    clients = [talk.client() for _ in range(3)]
    for client in clients:
        client.says(SHORTEST * refused)
        assert client.statuses() == [401] * refused
    talk.gate.presenters.clear()
    for client in clients:
        client.transport.arrive(seal(DATA, SHORTEST * asks))
    talk.loop.settle()
    presenters = [id(each) for each in talk.gate.presenters]
    assert len(presenters) == 3 * asks
    assert all(len(set(presenters[at : at + 3])) == 3 for at in range(0, 3 * asks, 3))
    assert all(client.statuses() == [401] * asks for client in clients)


def test_nothing_more_is_read_from_the_socket_while_requests_wait(talk: Conversation) -> None:
    client = talk.client()
    client.says(SHORTEST * 3)
    assert not client.is_read
    upstream = talk.upstream()
    upstream.says(*[b"HTTP/1.1 204 No Content\r\n\r\n"] * 3)
    assert client.is_read
    assert client.statuses() == [204] * 3


def test_goodbye_behind_pipelined_requests_ends_after_their_answers(talk: Conversation) -> None:
    talk.gate.refuse("/", Reason.CREDENTIALS_MISSING)
    client = talk.client()
    client.says(SHORTEST * 20)
    client.says_no_more()
    assert client.statuses() == [401] * 20
    assert client.got_goodbye


def test_body_of_tiny_chunks_is_read_a_piece_at_a_time(talk: Conversation) -> None:
    greedy, honest = talk.client(), talk.client()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"1\r\nx\r\n" * 20_000
    says_with(talk, greedy, head + chunks + b"0\r\n\r\n", honest)
    assert [each.path for each in talk.gate.asked] == ["/other", "/"]
    assert sum(len(each.body) for upstream in talk.upstreams for each in upstream.requests()) == 20_000
    for upstream in talk.upstreams:
        upstream.says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert greedy.statuses() == honest.statuses() == [204]


def read_all(reader: RequestReader, data: bytes) -> int:
    """As a connection that takes every request at once; returns the greatest work of one piece."""
    most = 0
    if reader.unread:
        reader.give(data)
    else:
        reader.unread = data
    while reader.unread and reader.fault is None:
        reader.read()
        most = max(most, reader.work)
        reader.message = None
    return most


def test_piece_of_chunks_costs_as_much_as_a_bounded_number_of_them() -> None:
    reader = RequestReader(Limits())
    reader.unread = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader.read()
    assert read_all(reader, b"1\r\nx\r\n" * 50_000) <= 1024 + 512 * (1024 // 6 + 1)
    assert reader.fault is None


def test_reads_that_each_end_within_a_head_are_neither_kept_nor_read_again() -> None:
    """No read ends where a head ends; what was in earlier ones, tokens included, is forgotten with its request."""
    reader = RequestReader(Limits())
    request = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer abc\r\n\r\n"
    stream = request * 2000
    size = len(request) * 3 + 7
    worked = 0
    for at in range(0, len(stream), size):
        reader.unread = stream[at : at + size]
        while reader.unread:
            reader.read()
            worked += reader.work
            reader.message = None
        held = [getattr(reader, name) for name in ("unread", "_line", "_piece", "_tail")]
        assert sum(len(each) for each in held if each) < 64
    assert worked == len(stream)


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_too_many_fields_are_refused_before_the_head_is_complete(size: int) -> None:
    reader = RequestReader(Limits(headers=100))
    stream = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:b\r\n" * 5000
    given = 0
    for at in range(0, len(stream), size):
        given += size
        read_all(reader, stream[at : at + size])
        if reader.fault is not None:
            break
    assert reader.fault is not None
    assert reader.fault.reason is Reason.HEADER_TOO_LARGE
    assert given <= 25 + 5 * 102 + size


def test_client_hears_at_once_that_its_head_has_too_many_fields(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:b\r\n" * 500)
    assert client.answer().status == 431
    assert talk.outcomes == [("", 431, "header_too_large")]


def test_small_chunks_give_no_credit_for_trailers() -> None:
    limits = Limits(trailer_bytes=8192, chunk_extension_bytes=4096)
    reader = RequestReader(limits)
    reader.unread = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader.read()
    request, reader.message = reader.message, None
    assert request is not None
    request.chunked = True
    read_all(reader, b"1\r\nx\r\n" * 100_000 + b"0\r\nX: ")
    given = 0
    while reader.fault is None:
        read_all(reader, b"y" * 1000)
        given += 1000
        assert given < 40_000
    assert request.fault is not None


@pytest.mark.parametrize("endless", [b"0\r\nX: ", b"1;"])
def test_framing_of_an_upstream_that_does_not_end_is_cut(endless: bytes) -> None:
    """A trailer field or the extension of a chunk (RFC 9112 §7.1.1, §7.1.2) has no length that was announced."""
    reader = ResponseReader()
    reader.begin(bodiless=False)
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" + endless)
    reader.body = []
    for _ in range(8):
        reader.feed(b"y" * 65536)
    with pytest.raises(MalformedResponse):
        reader.feed(b"y" * 65536)


def test_client_of_such_an_upstream_sees_that_the_answer_is_not_whole(talk: Conversation) -> None:
    client = talk.client()
    client.says(OTHER)
    upstream = talk.upstream()
    upstream.says(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: ", *[b"y" * 65536] * 20
    )
    assert client.was_cut
    assert upstream.is_closed
    assert talk.outcomes == [("/other", 200, "upstream_broken")]


def test_tiny_records_are_decrypted_a_few_at_a_time(talk: Conversation) -> None:
    """Each record of one byte costs as much as a whole one (RFC 8446 §5.1 allows any size)."""
    greedy, honest = talk.client(), talk.client()
    body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20_000
    greedy.transport.arrive(b"".join(seal(DATA, body[at : at + 1]) for at in range(len(body))))
    honest.transport.arrive(seal(DATA, OTHER))
    talk.loop.settle()
    assert [head.path for head in talk.gate.asked] == ["/", "/other"]
    # The API learns of the other request before the tenth part of the body has come.
    assert talk.upstreams[1].hears().startswith(b"GET /other")
    assert sum(len(each.body) for each in talk.upstreams[0].requests()) == 20_000
    for upstream in talk.upstreams:
        upstream.says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert greedy.statuses() == honest.statuses() == [204]
    assert greedy.is_read


@pytest.mark.parametrize("piece", [b"x" * 16_000, b"\x81\x80abcd" * 2600], ids=["upload", "frames"])
def test_no_turn_passes_on_more_than_32_kilobytes_of_a_client_and_the_record_they_end_in(
    piece: bytes, talk: Conversation
) -> None:
    """That is what whoever asks meanwhile waits for, in each turn."""
    client = talk.client()
    client.says(b"GET /tunnel HTTP/1.1\r\nHost: api\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    upstream.hears()
    client.transport.arrive(seal(DATA, piece) * 16)
    passed, heard = list[int](), b""
    while len(heard) < len(piece) * 16:
        talk.loop.run_once()
        now = upstream.hears()
        passed.append(len(now))
        heard += now
    assert heard == piece * 16
    assert max(passed) <= 32_768 + len(piece)


def test_record_that_has_begun_is_decrypted_in_two_steps(talk: Conversation) -> None:
    """Not in as many as it has slices, each of which asks the TLS library for what is not there yet."""
    given = list[int]()

    class Counting(CleartextEngine):
        def receive(self, data: bytes) -> bytes:
            given.append(len(data))
            return super().receive(data)

    talk.tls.make = Counting
    client = talk.client()
    client.says(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 160000\r\n\r\n")
    given.clear()
    client.sends(seal(DATA, b"x" * 16_000) * 10)
    assert sum(given) == 10 * 16_005
    assert len(given) <= 2 * 10 + 1
    assert sum(len(each.body) for each in talk.upstream().requests()) == 160_000


def test_nothing_is_read_from_the_socket_while_ciphertext_waits(talk: Conversation) -> None:
    talk.ponders("/")
    client = talk.client()
    client.says(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
    client.sends(seal(DATA, b"x" * 3000) * 300)
    assert not client.is_read
    talk.decide("/")
    assert client.is_read
    assert sum(len(each.body) for each in talk.upstream().requests()) == 900_000
    talk.upstreams[0].says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.statuses() == [204]


def test_frames_without_content_are_followed_in_one_pass() -> None:
    tracker = FrameTracker()
    stream = b"\x81\x80abcd" * 50_000
    tracker.feed(stream)
    assert tracker.is_between_frames
    tracker.feed(b"\x81")
    assert not tracker.is_between_frames
    tracker.feed(b"\x80abc")
    assert not tracker.is_between_frames
    tracker.feed(b"d")
    assert tracker.is_between_frames


@given(
    frames=st.lists(
        st.tuples(st.sampled_from([0, 1, 125, 126, 127, 65535, 65536]), st.booleans()), min_size=1, max_size=4
    ),
    cuts=st.lists(st.integers(1, 5), max_size=30),
)
def test_frames_cut_anywhere_are_followed(frames: list[tuple[int, bool]], cuts: list[int]) -> None:
    """RFC 6455 §5.2."""
    stream, ends = b"", {0}
    for size, masked in frames:
        short = size if size < 126 else 126 if size < 65536 else 127
        extended = b"" if size < 126 else size.to_bytes(2 if size < 65536 else 8, "big")
        stream += bytes((0x82, short | masked << 7)) + extended + b"mask" * masked + bytes(size)
        ends.add(len(stream))
    tracker, at = FrameTracker(), 0
    for size in [*cuts, len(stream)]:
        tracker.feed(stream[at : at + size])
        at = min(at + size, len(stream))
        assert tracker.is_between_frames is (at in ends)


def test_large_chunks_are_read_in_large_pieces() -> None:
    reader = RequestReader(Limits())
    reader.unread = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader.read()
    reader.unread = (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 10
    pieces = 0
    while reader.unread:
        reader.read()
        pieces += 1
    assert reader.fault is None
    assert pieces <= 14


def test_requests_pass_a_crowd_of_greedy_connections(talk: Conversation) -> None:
    """However many have more to do than one turn allows, what has just come waits behind one of them."""
    talk.gate.refuse("/", Reason.CREDENTIALS_MISSING)
    talk.gate.refuse("/other", Reason.CREDENTIALS_MISSING)
    crowd, honest = [talk.client() for _ in range(40)], talk.client()
    for client in crowd:
        client.transport.arrive(seal(DATA, SHORTEST * 30))
    while len(talk.gate.asked) < 200:
        talk.loop.run_once()
    before = len(talk.gate.asked)
    honest.transport.arrive(seal(DATA, OTHER))
    talk.loop.settle()
    assert [head.path for head in talk.gate.asked][before:].index("/other") <= 1
    assert all(client.statuses() == [401] * 30 for client in crowd)


def hopeless(talk: Conversation, count: int = 40) -> list[Client]:
    """Connections on which nothing but refusals has been answered for some time."""
    talk.gate.refuse("/", Reason.CREDENTIALS_MISSING)
    crowd = [talk.client() for _ in range(count)]
    for client in crowd:
        for _ in range(PATIENCE):
            client.says(SHORTEST)
        assert client.statuses() == [401] * PATIENCE
    talk.gate.asked.clear()
    return crowd


def test_requests_pass_a_crowd_that_is_always_refused(talk: Conversation) -> None:
    """None of them sends more than one request at a time, and all of them do: each turn answers one."""
    crowd, honest = hopeless(talk), talk.client()
    for client in crowd:
        client.transport.arrive(seal(DATA, SHORTEST))
    honest.transport.arrive(seal(DATA, OTHER))
    talk.loop.settle()
    assert [head.path for head in talk.gate.asked].index("/other") <= 1
    assert len(talk.gate.asked) == 41
    assert all(client.statuses() == [401] for client in crowd)
    assert all(client.is_read for client in crowd)


def test_what_one_turn_left_of_others_passes_a_crowd_that_is_always_refused(talk: Conversation) -> None:
    """They stand in a line of their own: a handshake, or a body that takes turns, does not wait for all of them."""
    crowd, honest = hopeless(talk), talk.client(shakes_hands=False)
    for client in crowd:
        client.transport.arrive(seal(DATA, SHORTEST * 3))
    talk.loop.run_once()
    honest.transport.arrive(seal(HANDSHAKE, b"hello") + seal(DATA, OTHER))
    talk.loop.settle()
    assert [head.path for head in talk.gate.asked].index("/other") <= 5
    assert all(client.statuses() == [401] * 3 for client in crowd)


def test_who_is_served_again_is_no_more_one_who_is_always_refused(talk: Conversation) -> None:
    crowd = hopeless(talk)
    talk.gate.refuse("/late", Reason.CREDENTIALS_MISSING)
    served = crowd.pop()
    served.says(OTHER)
    talk.upstream().says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert served.statuses() == [204]
    talk.gate.asked.clear()
    for client in crowd:
        client.transport.arrive(seal(DATA, SHORTEST))
    served.transport.arrive(seal(DATA, b"GET /late HTTP/1.1\r\nHost: api\r\n\r\n"))
    talk.loop.settle()
    assert [head.path for head in talk.gate.asked].index("/late") <= 1


def test_one_that_is_always_refused_and_alone_does_not_wait(talk: Conversation) -> None:
    """Nobody else would have its turn: it is answered in the turn in which it asks, as it always was."""
    (client,) = hopeless(talk, 1)
    client.says(SHORTEST)
    client.hears()
    for _ in range(3):
        client.transport.arrive(seal(DATA, SHORTEST))
        talk.loop.run_once()
        assert client.statuses() == [401]
    assert client.transport.rests == 0


def test_one_that_is_always_refused_waits_when_others_such_ask_too(talk: Conversation) -> None:
    """Whoever asks beside them stands behind one of them at most, whichever of them came last."""
    talk.gate.refuse("/other", Reason.CREDENTIALS_MISSING)
    crowd, honest = hopeless(talk, 3), talk.client()
    for _ in range(5):
        for client in crowd:
            client.transport.arrive(seal(DATA, SHORTEST))
        honest.transport.arrive(seal(DATA, OTHER))
        talk.gate.asked.clear()
        talk.loop.settle()
        assert [head.path for head in talk.gate.asked].index("/other") <= 1
        assert [client.statuses() for client in (*crowd, honest)] == [[401]] * 4


def test_little_that_waits_for_its_turn_does_not_stop_the_reading(talk: Conversation) -> None:
    crowd = hopeless(talk, 3)
    for _ in range(4):
        for client in crowd:
            client.transport.arrive(seal(DATA, SHORTEST))
        talk.loop.settle()
    assert [client.statuses() for client in crowd] == [[401] * 4] * 3
    assert [client.transport.rests for client in crowd] == [0] * 3


def test_much_that_waits_for_its_turn_stops_the_reading_until_it_is_read(talk: Conversation) -> None:
    """However it is cut: what comes while something waits is added to it, and gives it no second turn."""
    crowd = hopeless(talk, 3)
    for client in crowd:
        for _ in range(100):
            client.transport.arrive(seal(DATA, SHORTEST))
    most = 0
    while len(talk.gate.asked) < 300:
        before = len(talk.gate.asked)
        talk.loop.run_once()
        most = max(most, len(talk.gate.asked) - before)
    talk.loop.settle()
    assert most <= 2
    assert [client.statuses() for client in crowd] == [[401] * 100] * 3
    assert all(client.transport.rests for client in crowd)
    assert all(client.is_read for client in crowd)


def test_whoever_was_the_last_to_be_refused_is_not_kept_when_it_leaves(talk: Conversation) -> None:
    (client,) = hopeless(talk, 1)
    client.says(SHORTEST)
    left = weakref.ref(client.transport)
    client.transport.reset()
    talk.loop.settle()
    assert talk.server.connections == 0
    del client
    gc.collect()
    assert left() is None


def begins_a_stream(client: Http2Client, path: str) -> int:
    """Its request is there in the next turn, beside those of others. Returns its number."""
    number = client.engine.request(request(path, "GET"), ends=True)
    client.streams[number] = Got()
    client.client.transport.arrive(seal(DATA, client.engine.outgoing()))
    return number


def test_streams_of_a_crowd_that_is_always_refused_let_others_pass(talk: Conversation) -> None:
    talk.gate.refuse("/a", Reason.CREDENTIALS_MISSING)
    crowd, honest = [Http2Client(talk) for _ in range(10)], Http2Client(talk)
    for client in (*crowd, honest):
        assert {client.got(client.asks("/a")).status for _ in range(PATIENCE)} == {401}
    honest_again = honest.asks("/other")
    talk.upstream().says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert honest.got(honest_again).status == 204
    talk.gate.asked.clear()
    refused = [begins_a_stream(client, "/a") for client in crowd]
    begins_a_stream(honest, "/other")
    talk.loop.settle()
    assert [head.path for head in talk.gate.asked].index("/other") <= 1
    assert [client.got(number).status for client, number in zip(crowd, refused, strict=True)] == [401] * 10


def test_requests_pass_a_crowd_of_handshakes(talk: Conversation) -> None:
    """A handshake costs what many requests cost."""
    asked: list[int] = []

    class Noting(CleartextEngine):
        def receive(self, data: bytes) -> bytes:
            if not self.established:
                asked.append(len(talk.gate.asked))
            return super().receive(data)

    honest = talk.client()
    talk.tls.make = Noting
    crowd = [talk.client(shakes_hands=False) for _ in range(50)]
    for client in crowd:
        client.transport.arrive(seal(HANDSHAKE, b"hello"))
    honest.transport.arrive(seal(DATA, OTHER))
    talk.loop.settle()
    assert len(asked) == 50
    assert asked.count(0) <= 1
    talk.upstream().says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert honest.statuses() == [204]


def test_request_that_comes_with_the_end_of_a_handshake_is_served(talk: Conversation) -> None:
    client = talk.client(shakes_hands=False)
    client.transport.arrive(seal(HANDSHAKE, b"hello") + seal(DATA, OTHER))
    assert not talk.gate.asked
    talk.loop.settle()
    talk.upstream().says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.statuses() == [204]
    assert client.is_read


def test_client_that_leaves_before_its_handshake_has_its_turn_is_gone(talk: Conversation) -> None:
    client = talk.client(shakes_hands=False)
    client.transport.arrive(seal(HANDSHAKE, b"hello"))
    client.transport.reset()
    talk.loop.settle()
    assert talk.server.connections == 0


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TINY = b"1\r\nx\r\n"


def test_tiny_chunks_of_one_upstream_let_others_pass(talk: Conversation) -> None:
    greedy, honest = talk.client(), talk.client()
    greedy.says(OTHER)
    honest.says(OTHER)
    slow, quick = talk.upstream(), talk.upstream()
    slow.transport.arrive(CHUNKED + TINY * 40_000 + b"0\r\n\r\n")
    quick.transport.arrive(b"HTTP/1.1 204 No Content\r\n\r\n")
    while not talk.observed.records:
        talk.loop.run_once()
    assert not slow.is_read
    assert talk.record.status == 204
    assert len(greedy.hears()) < 40_000
    talk.loop.settle()
    assert slow.is_read
    assert [record.bytes_out for record in talk.observed.records] == [0, 40_000]


def test_response_that_is_read_in_turns_waits_for_a_slow_client(talk: Conversation) -> None:
    client = talk.client()
    client.says(OTHER)
    client.stops_reading()
    upstream, size = talk.upstream(), 20_000
    upstream.says(CHUNKED + (b"8\r\n" + b"y" * 8 + b"\r\n") * size + b"0\r\n\r\n")
    assert not upstream.is_read
    assert client.transport.most_buffered < 2 * 65536
    client.reads()
    assert client.answer().body == b"y" * 8 * size
    assert upstream.is_read


def test_what_came_before_the_upstream_left_is_passed_on(talk: Conversation) -> None:
    client = talk.client()
    client.says(OTHER)
    upstream = talk.upstream()
    upstream.transport.arrive(CHUNKED + TINY * 20_000 + b"0\r\n\r\n")
    talk.loop.call_soon(upstream.transport.reset)
    talk.loop.settle()
    assert client.answer().body == b"x" * 20_000
    assert talk.outcomes == [("/other", 200, "")]


def test_what_comes_in_pieces_behind_a_response_answers_nobody(talk: Conversation) -> None:
    client = talk.client()
    client.says(OTHER)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes" + b"HTTP/1.1 200 OK\r\n" * 5000)
    assert client.answer().body == b"yes"
    assert upstream.is_closed
    client.says(OTHER)
    talk.upstream().says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.statuses() == [204]


def test_tunnel_is_read_a_turn_at_a_time_from_its_first_byte(talk: Conversation) -> None:
    client, honest = talk.client(), talk.client()
    client.says(b"GET /tunnel HTTP/1.1\r\nHost: api\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    honest.says(OTHER)
    upstream, quick = talk.upstream(), talk.upstream()
    early, late = b"\x82\x7e\x9c\x40" + b"e" * 40_000, b"\x82\x00" * 100_000
    upstream.says(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + early
    )
    assert client.hears().endswith(early)
    upstream.transport.arrive(late)
    quick.transport.arrive(b"HTTP/1.1 204 No Content\r\n\r\n")
    while not talk.observed.records:
        talk.loop.run_once()
    heard = client.hears()
    assert len(heard) < len(late)
    talk.loop.settle()
    assert heard + client.hears() == late


def test_response_of_too_many_fields_is_broken() -> None:
    reader = ResponseReader()
    reader.begin(bodiless=False)
    reader.feed(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 990)
    with pytest.raises(MalformedResponse):
        reader.feed(b"a: b\r\n" * 20)


def test_trailers_of_too_many_fields_are_broken() -> None:
    reader = ResponseReader()
    reader.begin(bodiless=False)
    reader.feed(CHUNKED + TINY + b"0\r\n")
    with pytest.raises(MalformedResponse):
        reader.feed(b"a: b\r\n" * 1002)
