"""Requests of every shape, as the bytes exchanged (RFC 9110, RFC 9112)."""

from pathlib import Path

import pytest

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import Limits
from sidecar.proxy.upstream.http1_reader import MAX_INTERIM_RESPONSES
from sidecar.telemetry.record import AuditRecord
from sidecar.telemetry.sink import PLACE, LineSink
from tests.proxy.conftest import Converse
from tests.support.conversation import Conversation
from tests.support.http2_client import RawHttp2
from tests.support.http2_frames import request
from tests.support.tls_client import Truncated

GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_request_and_response_pass_as_they_are(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    assert upstream.hears() == GET
    upstream.says(
        b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-One: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nhello"
    )
    assert (
        client.hears()
        == b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-One: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nhello"
    )
    assert talk.outcomes == [("/a", 200, "")]
    assert talk.record.bytes_out == 5


def test_message_cut_anywhere_means_the_same(talk: Conversation) -> None:
    client = talk.client()
    message = b"POST /a HTTP/1.1\r\nHost: api\r\nX-One: 1\r\nContent-Length: 3\r\n\r\nabc"
    client.says(*(message[i : i + 1] for i in range(len(message))))
    upstream = talk.upstream()
    assert upstream.hears() == message.replace(
        b"X-One: 1\r\nContent-Length: 3\r\n", b"X-One: 1\r\nContent-Length: 3\r\n"
    )
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nxyz"
    upstream.says(*(answer[i : i + 1] for i in range(len(answer))))
    assert client.hears() == answer


# --- request bodies


def test_body_with_a_length_goes_on_as_it_comes(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"PUT /a HTTP/1.1\r\nHost: api\r\nContent-Length: 10\r\n\r\n01234")
    upstream = talk.upstream()
    assert upstream.hears() == b"PUT /a HTTP/1.1\r\nHost: api\r\nContent-Length: 10\r\n\r\n01234"
    client.says(b"567")
    assert upstream.hears() == b"567"
    client.says(b"89")
    assert upstream.hears() == b"89"
    upstream.says(NO_CONTENT)
    assert client.hears() == NO_CONTENT
    assert talk.record.bytes_in == 10


def test_chunked_body_goes_on_in_chunks_with_its_trailers(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"POST /a HTTP/1.1\r\nHost: api\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n")
    upstream = talk.upstream()
    assert (
        upstream.hears()
        == b"POST /a HTTP/1.1\r\nHost: api\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    client.says(b"5;ext=1\r\nhel", b"lo\r\n", b"0\r\nX-Sum: 1\r\n\r\n")
    assert upstream.hears() == b"3\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n"
    upstream.says(NO_CONTENT)
    assert client.hears() == NO_CONTENT
    assert talk.record.bytes_in == 5


@pytest.mark.parametrize(
    "trailer",
    [
        b"Authorization: Bearer x",
        b"X-Auth-Subject: root",
        b"X_Auth_Subject: root",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Host: other",
        b"X-Forwarded-For: 10.0.0.1",
        b"Connection: close",
        b"Expect: 100-continue",
    ],
)
def test_trailer_that_frames_routes_or_identifies_is_dropped(talk: Conversation, trailer: bytes) -> None:
    client = talk.client()
    client.says(
        b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
        + trailer
        + b"\r\n\r\n"
    )
    if client.hears():  # refused is as good
        return
    assert talk.upstream().hears().endswith(b"\r\n\r\n1\r\na\r\n0\r\n\r\n")


def test_body_longer_than_the_limit_is_413_and_never_whole_upstream(converse: Converse) -> None:
    talk = converse(limits=Limits(body_bytes=8))
    client = talk.client()
    client.says(b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 9\r\n\r\n")
    assert client.answer().status == 413
    assert client.got_goodbye
    assert talk.untouched
    other = talk.client()
    other.says(
        b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n", b"5\r\nefghi\r\n"
    )
    assert other.answer().status == 413
    with pytest.raises(Truncated):
        talk.upstream().request()
    assert talk.upstreams[0].is_closed
    assert {reason for _, _, reason in talk.outcomes} == {"body_too_large"}


@pytest.mark.parametrize("ponders", [False, True], ids=["at once", "after a late decision"])
def test_body_longer_than_the_limit_that_comes_with_its_head_is_413(
    converse: Converse, ponders: bool
) -> None:
    talk = converse(limits=Limits(body_bytes=8))
    if ponders:
        talk.ponders("/a")
    client = talk.client()
    client.says(
        b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabcdefghi\r\n0\r\n\r\n"
    )
    if ponders:
        talk.decide("/a")
    assert client.answer().status == 413
    assert talk.untouched


def test_body_of_exactly_the_limit_passes(converse: Converse) -> None:
    talk = converse(limits=Limits(body_bytes=4))
    client = talk.client()
    client.says(b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n")
    request = talk.upstream().request()
    assert request is not None
    assert request.body == b"abcd"


def test_malformed_chunk_ends_the_request_on_both_sides(talk: Conversation) -> None:
    client = talk.client()
    client.says(
        b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n", b"zz\r\n"
    )
    upstream = talk.upstream()
    assert client.answer().status == 400
    assert client.got_goodbye
    assert upstream.is_closed
    with pytest.raises(Truncated):
        upstream.request()


# --- Expect: 100-continue (RFC 9110 §10.1.1)

EXPECTING = b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"


def test_body_is_asked_for_only_after_the_permit(talk: Conversation) -> None:
    talk.ponders("/a")
    client = talk.client()
    client.says(EXPECTING)
    assert client.hears() == b""
    talk.decide("/a")
    upstream = talk.upstream()
    assert upstream.hears() == EXPECTING
    upstream.says(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.hears() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.says(b"abc")
    assert upstream.hears() == b"abc"
    upstream.says(EMPTY)
    assert client.hears() == EMPTY


def test_refused_body_is_never_asked_for(talk: Conversation) -> None:
    talk.gate.refuse("/a")
    client = talk.client()
    client.says(EXPECTING)
    answer = client.answer()
    assert answer.status == 403
    assert answer.informational == ()
    assert client.got_goodbye
    assert talk.untouched


def test_client_that_waits_for_100_is_not_too_slow(talk: Conversation) -> None:
    client = talk.client()
    client.says(EXPECTING)
    upstream = talk.upstream()
    talk.later(40)
    assert client.hears() == b""
    upstream.says(b"HTTP/1.1 100 Continue\r\n\r\n")
    talk.later(10)
    client.says(b"abc")
    upstream.says(EMPTY)
    assert client.answer().status == 200


def test_upstream_may_refuse_the_body_itself(talk: Conversation) -> None:
    client = talk.client()
    client.says(EXPECTING)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
    assert client.answer().status == 417
    assert client.got_goodbye
    assert upstream.is_closed


def test_unknown_expectation_is_417(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"POST /a HTTP/1.1\r\nHost: api\r\nExpect: miracles\r\n\r\n")
    assert client.answer().status == 417
    assert talk.untouched


def test_expectation_of_a_1_0_client_is_ignored(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"POST /a HTTP/1.0\r\nHost: api\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\na")
    assert b"Expect" not in talk.upstream().hears()


# --- interim responses (RFC 9110 §15.2)


def test_interim_responses_reach_the_client_at_once(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n"
    upstream.says(early)
    assert client.hears() == early
    upstream.says(b"HTTP/1.1 102 Processing\r\n\r\n" + EMPTY)
    assert client.hears() == b"HTTP/1.1 102 Processing\r\n\r\n" + EMPTY
    client.says(GET)
    assert upstream.hears().endswith(GET)
    upstream.says(NO_CONTENT)
    assert client.hears() == NO_CONTENT


def test_interim_response_has_no_content_length(talk: Conversation) -> None:
    """RFC 9110 §8.6, whoever is the client: one of HTTP/2 may take the stream for malformed."""
    client, other = talk.client(), RawHttp2(talk)
    client.says(GET)
    other.asks(1, request("/b"))
    for _ in range(2):
        upstream = talk.upstream()
        upstream.says(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nLink: x\r\n\r\n" + EMPTY)
    assert client.hears() == b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + EMPTY
    assert other.status(1) == 200
    early, final = other.heads[1]
    assert early == {":status": "103", "link": "x"}
    assert final["content-length"] == "0"


def test_interim_responses_are_kept_from_a_1_0_client(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET /a HTTP/1.0\r\nHost: api\r\n\r\n")
    talk.upstream().says(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + EMPTY)
    assert client.answer().informational == ()


def test_storm_of_interim_responses_is_502(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 102 Processing\r\n\r\n" * (MAX_INTERIM_RESPONSES + 1))
    assert upstream.is_closed
    assert client.answer().status == 502
    assert talk.record.reason is Reason.UPSTREAM_BROKEN


def test_upstream_is_not_given_more_time_by_interim_responses(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 102 Processing\r\n\r\n")
    talk.later(61)
    assert client.answer().status == 504


def test_an_observer_that_raises_breaks_neither_the_answer_nor_the_connection(talk: Conversation) -> None:
    """It is told when the exchange is over: the next request comes on the same connection, and the fault is told."""

    def raises(record: AuditRecord) -> None:
        raise ValueError("no line can be made")

    talk.observed.observe = raises  # type: ignore[method-assign]
    client, upstream = talk.client(), None
    for _ in range(2):
        client.says(GET)
        upstream = upstream or talk.upstream()
        assert upstream.request() is not None
        upstream.says(EMPTY)
        assert client.answer().status == 200
    talk.gate.refuse("/b")
    client.says(b"GET /b HTTP/1.1\r\nHost: api\r\n\r\n")
    assert client.answer().status in {401, 403}
    client.says(GET)
    client.leaves()
    assert client.is_closed
    assert [name for name, _ in talk.observed.incidents] == ["internal_error"] * 4
    talk.observed.incidents.clear()  # ours, and told


def test_nothing_is_forwarded_without_a_place_for_its_record(converse: Converse, tmp_path: Path) -> None:
    sink = LineSink(path=tmp_path / "log", limit=PLACE + 1000, reserves=True)
    talk = converse(places=sink)
    first, second = talk.client(), talk.client()
    first.says(GET)
    upstream = talk.upstream()
    assert upstream.request() is not None
    second.says(GET)
    refused = second.answer()
    assert (refused.status, refused.json()["reason"]) == (503, "audit_unavailable")
    assert len(talk.upstreams) == 1
    upstream.says(EMPTY)
    assert first.answer().status == 200
    assert [(one.has_place, one.status) for one in talk.observed.records] == [(False, 503), (True, 200)]
    sink.write("the first one's record\n", has_place=True)
    second.says(GET)
    assert upstream.request() is not None
    upstream.says(EMPTY)
    assert second.answer().status == 200
    sink.close()
