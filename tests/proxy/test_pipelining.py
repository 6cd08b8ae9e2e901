"""Requests that do not wait for each other: each is decided on its own, answered in order, and bounded."""

import pytest

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import Limits
from tests.proxy.conftest import Converse
from tests.support.conversation import Conversation

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def get(path: str, fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: api\r\n{fields}\r\n".encode()


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_each_pipelined_request_is_decided(talk: Conversation) -> None:
    talk.gate.refuse("/b")
    client = talk.client()
    client.says(get("/a") + get("/b") + get("/c"))
    upstream = talk.upstream()
    assert upstream.hears() == get("/a")
    assert [head.path for head in talk.gate.asked] == ["/a"], "the next decision waits for the one before"
    upstream.says(answer(b"a"))
    assert upstream.hears() == get("/c")
    upstream.says(answer(b"c"))
    assert client.statuses() == [200, 403, 200]
    assert [head.path for head in talk.gate.asked] == ["/a", "/b", "/c"]
    assert [path for path, _, _ in talk.outcomes] == ["/a", "/b", "/c"]


def test_answers_come_in_the_order_of_the_requests(talk: Conversation) -> None:
    talk.ponders("/a")
    client = talk.client()
    client.says(get("/a"), get("/b"))
    assert talk.untouched
    talk.decide("/a")
    upstream = talk.upstream()
    upstream.says(answer(b"a"))
    upstream.says(answer(b"b"))
    assert client.hears() == answer(b"a") + answer(b"b")


def test_thousand_pipelined_refusals_do_not_overflow_the_stack(talk: Conversation) -> None:
    talk.gate.refuse("/a")
    client = talk.client()
    client.says(get("/a") * 1000)
    assert client.statuses() == [403] * 1000
    assert talk.untouched


def test_reading_stops_while_a_pipelined_request_waits(talk: Conversation) -> None:
    client = talk.client()
    client.says(get("/a"))
    assert client.is_read
    client.says(get("/b"))
    assert not client.is_read
    upstream = talk.upstream()
    upstream.says(EMPTY, EMPTY)
    assert client.is_read
    assert client.statuses() == [200, 200]


def test_body_behind_a_pipelined_refusal_is_read_and_thrown_away(talk: Conversation) -> None:
    talk.gate.refuse("/b")
    client = talk.client()
    client.says(
        get("/a"), b"POST /b HTTP/1.1\r\nHost: api\r\nContent-Length: 20\r\n\r\nGET / HTTP", b"/1.1\r\n\r\n.."
    )
    upstream = talk.upstream()
    upstream.says(EMPTY)
    client.says(get("/c"))
    upstream.says(EMPTY)
    assert client.statuses() == [200, 403, 200]
    assert [head.path for head in talk.gate.asked] == ["/a", "/b", "/c"]


def test_request_behind_connection_close_is_not_even_looked_at(talk: Conversation) -> None:
    client = talk.client()
    client.says(get("/a", "Connection: close\r\n") + get("/b"))
    talk.upstream().says(EMPTY)
    assert client.answer().header("connection") == "close"
    assert client.got_goodbye
    assert client.hears() == b""
    assert len(talk.gate.asked) == 1


def test_malformed_request_behind_a_good_one_gets_its_own_answer(talk: Conversation) -> None:
    client = talk.client()
    client.says(get("/a") + b"nonsense\r\n\r\n")
    talk.upstream().says(EMPTY)
    assert client.statuses() == [200, 400]
    assert client.got_goodbye
    assert talk.outcomes == [("/a", 200, ""), ("", 400, "request_malformed")]


def test_connection_ends_after_as_many_requests_as_configured(converse: Converse) -> None:
    talk = converse(limits=Limits(requests_per_connection=2))
    client = talk.client()
    client.says(get("/a") + get("/b") + get("/c"))
    upstream = talk.upstream()
    upstream.says(EMPTY, EMPTY)
    assert client.answer().header("connection") is None
    assert client.answer().header("connection") == "close"
    assert client.got_goodbye
    assert len(talk.gate.asked) == 2


# --- back-pressure


def test_slow_reader_holds_the_upstream_at_the_watermark(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=10_000))
    client = talk.client()
    client.stops_reading()
    client.says(get("/a"))
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    upstream.says(*[b"x" * 1000] * 100)
    assert not upstream.is_read
    assert client.transport.most_buffered < 12_000
    while not client.transport.is_lost and client.transport.buffer:
        client.reads(5000)
    assert client.transport.most_buffered < 12_000
    assert client.hears().endswith(b"x" * 1000)
    assert talk.record.bytes_out == 100_000


def test_slow_upstream_holds_the_client_at_the_watermark(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=10_000))
    talk.new_upstreams_read = False
    client = talk.client()
    client.says(b"PUT /a HTTP/1.1\r\nHost: api\r\nContent-Length: 100000\r\n\r\n")
    client.says(*[b"x" * 1000] * 100)
    assert not client.is_read
    upstream = talk.upstream()
    assert upstream.transport.most_buffered < 12_000
    while upstream.transport.buffer:
        upstream.reads(5000)
    assert upstream.transport.most_buffered < 12_000
    request = upstream.request()
    assert request is not None
    assert len(request.body) == 100_000
    upstream.reads()
    upstream.says(EMPTY)
    assert client.answer().status == 200


def test_body_waits_outside_while_the_decision_is_pending(talk: Conversation) -> None:
    talk.ponders("/a")
    client = talk.client()
    client.says(b"PUT /a HTTP/1.1\r\nHost: api\r\nContent-Length: 9\r\n\r\n", b"abc", b"def", b"ghi")
    assert not client.is_read
    talk.decide("/a")
    request = talk.upstream().request()
    assert request is not None
    assert request.body == b"abcdefghi"


def test_body_waits_outside_while_there_is_no_upstream_connection(talk: Conversation) -> None:
    talk.reachable = None
    client = talk.client()
    client.says(b"PUT /a HTTP/1.1\r\nHost: api\r\nContent-Length: 6\r\n\r\n", b"abc", b"def")
    assert not client.is_read
    talk.later(3)
    assert client.answer().status == 504


def test_answers_that_nobody_reads_do_not_pile_up(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=10_000))
    client = talk.client()
    client.stops_reading()
    client.says(*[get("/a") * 10] * 10)
    upstream = talk.upstream()
    for _ in range(100):
        if upstream.hears():
            upstream.says(answer(b"x" * 9000))
    assert len(talk.gate.asked) < 4
    assert client.transport.most_buffered < 20_000
    client.reads()
    while upstream.hears():
        upstream.says(answer(b"x" * 9000))
    assert client.statuses() == [200] * 100


def test_refusals_that_nobody_reads_do_not_pile_up(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=10_000))
    talk.gate.refuse("/a", Reason.CREDENTIALS_MISSING)
    client = talk.client()
    client.stops_reading()
    client.says(*[get("/a") * 100] * 10)
    assert client.transport.most_buffered < 12_000
    client.reads()
    assert client.statuses() == [401] * 1000


def test_held_upstream_connection_is_read_again_by_its_next_request(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=10_000))
    client = talk.client()
    client.stops_reading()
    client.says(get("/a"))
    upstream = talk.upstream()
    upstream.says(answer(b"x" * 20_000))
    assert upstream.is_read, "idle now: its end must be noticed"
    upstream.leaves()
    assert talk.server.upstream_connections == 0


def test_data_of_another_client_is_not_held_up(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=10_000))
    slow, quick = talk.client(), talk.client()
    slow.stops_reading()
    slow.says(get("/a"))
    held = talk.upstream()
    held.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x" * 50_000)
    quick.says(get("/b"))
    talk.upstream().says(answer(b"b"))
    assert quick.hears() == answer(b"b")
    slow.resets()
    assert held.is_closed


@pytest.mark.parametrize("size", [1, 7, 64])
def test_pipelined_requests_cut_anywhere_mean_the_same(talk: Conversation, size: int) -> None:
    client = talk.client()
    stream = get("/a") + b"POST /b HTTP/1.1\r\nHost: api\r\nContent-Length: 3\r\n\r\nabc" + get("/c")
    client.says(*(stream[i : i + size] for i in range(0, len(stream), size)))
    upstream = talk.upstream()
    upstream.says(EMPTY, EMPTY, EMPTY)
    assert client.statuses() == [200, 200, 200]
    assert [(seen.target, seen.body) for seen in upstream.requests()] == [
        ("/a", b""),
        ("/b", b"abc"),
        ("/c", b""),
    ]
