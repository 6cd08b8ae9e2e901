"""Responses of every shape, as the bytes exchanged (RFC 9112 §6.3)."""

from dataclasses import replace

import pytest

from sidecar.decision.denial import Reason
from tests.proxy.conftest import Converse
from tests.support.conversation import UPSTREAM, Conversation

GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


# --- responses without a body (RFC 9112 §6.3)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
        NO_CONTENT,
    ],
)
def test_response_without_body_leaves_the_connection_in_step(talk: Conversation, head: bytes) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(head)
    assert client.hears() == head
    client.says(GET)
    assert upstream.hears().endswith(GET)
    upstream.says(EMPTY)
    assert client.hears() == EMPTY


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""],
    ids=["length", "chunked", "none"],
)
def test_response_to_head_has_no_body_whatever_it_says(talk: Conversation, head: bytes) -> None:
    client = talk.client()
    client.says(GET.replace(b"GET", b"HEAD"))
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
    answer = client.answer("HEAD")
    assert answer.status == 200
    assert answer.header("content-length") == ("5" if b"Length" in head else None)
    client.says(GET)
    talk.upstreams[-1].says(EMPTY)
    assert client.answer().status == 200


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 35\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 35\r\n\r\n"),
    ],
)
def test_body_that_none_may_be_and_comes_late_is_nobodys_answer(
    converse: Converse, method: bytes, head: bytes
) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=1))
    first, second = talk.client(), talk.client()
    first.says(GET.replace(b"GET", method))
    upstream = talk.upstream()
    second.says(GET)  # waits for the only connection
    upstream.says(head)
    upstream.says(b"HTTP/1.1 200 Evil\r\nContent-Length: 0\r\n\r\n")
    fresh = talk.upstream()
    fresh.says(EMPTY)
    assert b"Evil" not in first.hears()
    assert second.answer().status == 200


def test_connection_whose_head_promised_nothing_is_used_again(talk: Conversation) -> None:
    client = talk.client()
    for method in (b"HEAD", b"GET"):
        client.says(GET.replace(b"GET", method))
        talk.upstreams[0].says(EMPTY)
        assert client.answer(method.decode()).status == 200
    assert len(talk.upstreams) == 1


@pytest.mark.parametrize("status", [b"099", b"000", b"001"])
def test_status_below_100_is_a_broken_answer(talk: Conversation, status: bytes) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 " + status + b" x\r\nContent-Length: 0\r\n\r\n")
    assert client.statuses() == [502]
    assert upstream.is_closed


@pytest.mark.parametrize(
    ("request_line", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ],
)
def test_body_where_none_may_be_never_reaches_anyone(
    talk: Conversation, request_line: bytes, head: bytes
) -> None:
    client = talk.client()
    client.says(GET.replace(b"GET", request_line))
    upstream = talk.upstream()
    upstream.says(head + b"HTTP/1.1 200 Evil\r\nContent-Length: 0\r\n\r\n")
    assert b"Evil" not in client.hears()
    assert upstream.is_closed, "what else comes on it answers nothing that was asked"
    client.says(GET)
    fresh = talk.upstream()
    fresh.says(EMPTY)
    assert client.answer().status == 200


def test_no_content_loses_its_content_length(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    talk.upstream().says(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX: 1\r\n\r\n")
    # RFC 9110 §8.6: a server MUST NOT send Content-Length with 1xx or 204
    assert client.hears() == b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n"


# --- response bodies


def test_chunked_response_passes_chunk_by_chunk_with_trailers(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert client.hears() == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    upstream.says(b"5\r\nhello\r\n")
    assert client.hears() == b"5\r\nhello\r\n"
    upstream.says(b"0\r\nX-Sum: 1\r\n\r\n")
    assert client.hears() == b"0\r\nX-Sum: 1\r\n\r\n"


def test_events_are_sent_on_without_delay(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    client.hears()
    for number in range(20):
        talk.later(14)
        event = b"data: %02d\n\n" % number
        upstream.says(event)
        assert client.hears() == b"a\r\n" + event + b"\r\n"
    upstream.leaves()
    assert client.hears() == b"0\r\n\r\n"
    assert not client.is_closed


def test_response_until_close_is_chunked_for_a_1_1_client(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.0 200 OK\r\n\r\nabc", b"de")
    upstream.leaves()
    assert (
        client.hears()
        == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    client.says(GET)
    talk.upstream().says(EMPTY)
    assert client.answer().status == 200


def test_response_without_length_ends_with_the_connection_of_a_1_0_client(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET /a HTTP/1.0\r\nHost: api\r\nConnection: keep-alive\r\n\r\n")
    talk.upstream().says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert client.hears() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"
    assert client.got_goodbye


def test_1_0_client_keeps_its_connection_when_it_asks_and_lengths_allow(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET /a HTTP/1.0\r\nHost: api\r\nConnection: keep-alive\r\n\r\n")
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
    assert client.hears() == b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\na"
    client.says(b"GET /b HTTP/1.0\r\n\r\n")
    upstream.says(EMPTY)
    assert client.answer().header("connection") == "close"
    assert client.got_goodbye


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"nonsense",
        b"\x16\x03\x01",
    ],
)
def test_response_that_is_not_clean_http_is_502(talk: Conversation, response: bytes) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(response)
    assert client.answer().status == 502
    assert upstream.is_closed
    assert talk.record.reason is Reason.UPSTREAM_BROKEN


def test_response_too_many_is_never_taken_for_the_next_ones(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(EMPTY + b"HTTP/1.1 200 Evil\r\nContent-Length: 0\r\n\r\n")
    assert client.hears() == EMPTY
    assert upstream.is_closed
    client.says(GET)
    talk.upstream().says(EMPTY)
    assert client.hears() == EMPTY


def test_response_before_the_request_body_is_whole_ends_the_connection(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 10\r\n\r\nabc")
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    assert client.answer().header("connection") == "close"
    assert upstream.is_closed
    assert client.got_goodbye
    client.says(b"defghij")
    assert client.hears() == b""


def test_response_may_begin_while_the_request_goes_on(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n")
    assert client.hears().endswith(b"\r\n\r\n1\r\nA\r\n")
    upstream.hears()
    client.says(b"1\r\nb\r\n0\r\n\r\n")
    assert upstream.hears() == b"1\r\nb\r\n0\r\n\r\n"
    upstream.says(b"1\r\nB\r\n0\r\n\r\n")
    assert client.hears() == b"1\r\nB\r\n0\r\n\r\n"
    client.says(GET)
    assert upstream.hears() == GET
    upstream.says(EMPTY)
    assert client.answer().status == 200
