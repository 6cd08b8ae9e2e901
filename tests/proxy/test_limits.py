"""What is too much is refused with the status that fits, and never reaches the upstream."""

import pytest

from sidecar.proxy.configuration import Limits
from tests.proxy.conftest import Converse
from tests.support.conversation import Conversation
from tests.support.records import permit, token

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
HEAD = b"GET /a HTTP/1.1\r\nHost: api\r\n"


def test_target_over_the_limit_is_414(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: api\r\n\r\n")
    assert client.answer().status == 414
    assert client.got_goodbye
    assert talk.untouched


def test_target_without_end_is_414_before_it_ends(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET /", *[b"a" * 1000] * 20)
    assert client.answer().status == 414


def test_target_of_the_limit_passes(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET /" + b"a" * 8191 + b" HTTP/1.1\r\nHost: api\r\n\r\n")
    talk.upstream().says(EMPTY)
    assert client.answer().status == 200


@pytest.mark.parametrize(
    "fields",
    [
        b"X: " + b"a" * 33_000 + b"\r\n",
        b"".join(b"X-%d: %b\r\n" % (number, b"a" * 1000) for number in range(33)),
        b"X-%b: a\r\n" % (b"a" * 33_000),
    ],
    ids=["value", "sum", "name"],
)
@pytest.mark.parametrize("size", [100, 5000, 1_000_000])
def test_head_over_the_limit_is_431(talk: Conversation, fields: bytes, size: int) -> None:
    client = talk.client()
    message = HEAD + fields + b"\r\n"
    client.says(*(message[i : i + size] for i in range(0, len(message), size)))
    assert client.answer().status == 431
    assert client.got_goodbye
    assert talk.untouched


def test_head_without_end_is_431_before_it_ends(talk: Conversation) -> None:
    client = talk.client()
    client.says(HEAD, *[b"X: aaaa\r\n" * 100] * 40)
    assert client.answer().status == 431


def test_head_behind_another_message_in_one_read_is_held_to_the_limit(talk: Conversation) -> None:
    client = talk.client()
    body = b"POST /b HTTP/1.1\r\nHost: api\r\nContent-Length: 3\r\n\r\n"
    client.says(body + b"abc" + HEAD + b"X: " + b"a" * 33_000 + b"\r\n\r\n")
    talk.upstream().says(EMPTY)
    assert client.statuses() == [200, 431]
    other = talk.client()
    other.says(body + b"a", b"bc" + HEAD + b"X: " + b"a" * 33_000 + b"\r\n\r\n")
    talk.upstreams[-1].says(EMPTY)
    assert other.statuses() == [200, 431]


def test_more_fields_than_the_limit_are_431(talk: Conversation) -> None:
    client = talk.client()
    client.says(HEAD + b"X: a\r\n" * 100 + b"\r\n")
    assert client.answer().status == 431
    other = talk.client()
    other.says(HEAD + b"X: a\r\n" * 99 + b"\r\n")
    talk.upstream().says(EMPTY)
    assert other.answer().status == 200


def test_trailers_over_the_limit_end_the_request(talk: Conversation) -> None:
    client = talk.client()
    client.says(
        b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
        *[b"X-T: " + b"a" * 1000 + b"\r\n"] * 10,
    )
    assert client.answer().status == 431
    assert talk.upstream().is_closed


@pytest.mark.parametrize(
    "cut", [0, 60, 73, 100], ids=["at once", "in its head", "in its body", "in its trailers"]
)
def test_trailers_over_the_limit_that_come_in_one_read_end_the_request(talk: Conversation, cut: int) -> None:
    message = (
        b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
        + (b"X-T: " + b"a" * 1000 + b"\r\n") * 10
        + b"\r\n"
    )
    client = talk.client()
    client.says(message[:cut], message[cut:])
    assert client.statuses() == [431]
    for upstream in talk.upstreams:
        assert not upstream.hears().endswith(b"0\r\n\r\n")
        assert upstream.is_closed


def test_chunk_extensions_over_the_limit_end_the_request(talk: Conversation) -> None:
    client = talk.client()
    client.says(
        b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n",
        *[b"1;" + b"x" * 1000 + b"\r\na\r\n"] * 5,
    )
    assert client.answer().status == 400
    assert talk.upstream().is_closed


def test_chunks_that_need_little_framing_give_no_credit_to_trailers(talk: Conversation) -> None:
    client = talk.client()
    client.says(
        b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n",
        *[b"1\r\na\r\n" * 2000] * 5,
        b"0\r\nX-T: ",
    )
    for _ in range(12):
        client.says(b"a" * 1000)
    assert client.answer().status == 400
    assert talk.upstream().is_closed


def test_many_small_chunks_are_not_taken_for_extensions(talk: Conversation) -> None:
    client = talk.client()
    client.says(
        b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\na\r\n"] * 2000
    )
    client.says(b"0\r\n\r\n")
    request = talk.upstream().request()
    assert request is not None
    assert request.body == b"a" * 2000


def test_response_head_over_the_limit_is_502(talk: Conversation) -> None:
    client = talk.client()
    client.says(HEAD + b"\r\n")
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\n")
    for _ in range(300):
        upstream.says(b"X: " + b"a" * 1000 + b"\r\n")
    assert client.answer().status == 502
    assert upstream.is_closed


def test_response_trailers_over_the_limit_cut_the_response(talk: Conversation) -> None:
    client = talk.client()
    client.says(HEAD + b"\r\n")
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    for _ in range(600):
        upstream.says(b"X: " + b"a" * 1000 + b"\r\n")
    assert client.was_cut


def test_empty_lines_without_end_do_not_keep_a_connection(talk: Conversation) -> None:
    client = talk.client()
    for _ in range(76):
        client.says(b"\r\n" * 100)
        talk.later(1)
    assert client.is_closed
    assert talk.observed.records == []


def test_injected_headers_past_their_limit_are_counted_and_past_twice_refused(converse: Converse) -> None:
    talk = converse(limits=Limits(identity_header_bytes=100))
    talk.gate.verdicts["/a"] = permit(token(claims={"sub": "x" * 120}))
    talk.gate.verdicts["/b"] = permit(token(claims={"sub": "x" * 220}))
    client = talk.client()
    client.says(HEAD + b"\r\n")
    upstream = talk.upstream()
    assert b"X-Auth-Subject: " + b"x" * 120 + b"\r\n" in upstream.hears()
    upstream.says(EMPTY)
    client.says(HEAD.replace(b"/a", b"/b") + b"\r\n")
    assert client.statuses() == [200, 403]
    assert [name for name, _ in talk.observed.incidents] == ["identity_headers_large"] * 2
