"""Content that is not as long as Content-Length says (RFC 9113 §8.1.1, H2.CL): the API never has such a request whole.

In HTTP/1.1 a request is whole when so much content has come, in HTTP/2 when its stream has ended.
"""

from collections.abc import Callable
from contextlib import suppress

import pytest

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import Timeouts
from sidecar.proxy.http2.events import NO_ERROR
from tests.proxy.conftest import Converse
from tests.support.conversation import Conversation
from tests.support.http2_client import Http2Client, RawHttp2
from tests.support.http2_frames import DATA, END_STREAM, HEADERS, PING, RST_STREAM, block, frame, request
from tests.support.tls_client import Truncated

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: api\r\n\r\n"


def begins(client: RawHttp2, length: int, method: str = "POST", number: int = 1) -> None:
    """A request that has not ended."""
    client.asks(number, request("/a", method, (b"content-length", b"%d" % length)), ends=False)


UNFINISHED = [(Reason.REQUEST_MALFORMED, "the client has left before its request ended", "POST")]


def refusals(talk: Conversation) -> list[tuple[Reason | None, str, str]]:
    """What the records say of the requests: reason, detail and method."""
    assert not talk.gate.asked
    assert not talk.upstreams
    return [(record.reason, record.detail, record.method) for record in talk.observed.records]


def whole(talk: Conversation) -> list[bytes]:
    """The contents of the requests that the API has in full, since this was asked last."""
    found = []
    for upstream in talk.upstreams:
        with suppress(Truncated):
            while (seen := upstream.request()) is not None:
                found.append(seen.body)
    return found


METHODS = ["POST", "PUT", "GET", "HEAD", "DELETE"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ends", [True, False])
def test_content_behind_a_length_of_0_is_refused_before_anything_is_passed_on(
    talk: Conversation, method: str, *, ends: bool
) -> None:
    client = RawHttp2(talk)
    begins(client, 0, method)
    client.writes(frame(DATA, END_STREAM if ends else 0, 1, SMUGGLED))
    assert not talk.upstreams
    assert not talk.gate.asked
    assert [(record.reason, record.status) for record in talk.observed.records] == [
        (Reason.REQUEST_MALFORMED, 0)
    ]
    assert client.was_reset(1) is not None
    assert client.goaway() is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("trails", [True, False])
def test_a_length_of_0_that_is_true_is_served_when_it_has_ended(
    talk: Conversation, method: str, *, trails: bool
) -> None:
    client = RawHttp2(talk)
    begins(client, 0, method)
    assert not talk.upstreams
    if trails:
        client.writes(frame(HEADERS, 5, 1, block([(b"x-sum", b"1")])))
    else:
        client.writes(frame(DATA, END_STREAM, 1))
    talk.upstream().says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.status(1) == 204
    assert whole(talk) == [b""]
    assert client.was_reset(1) in (None, NO_ERROR)


@pytest.mark.parametrize("name", [b"content-length", b"host", b"trailer"])
def test_a_length_of_0_with_trailers_that_frame_or_route_is_refused(talk: Conversation, name: bytes) -> None:
    client = RawHttp2(talk)
    begins(client, 0)
    client.writes(frame(HEADERS, 5, 1, block([(name, b"30")])))
    assert talk.record.reason is Reason.REQUEST_MALFORMED
    assert not talk.upstreams


@pytest.mark.parametrize("pieces", [(b"hello",), (b"he", b"llo"), (b"h", b"e", b"l", b"l", b"o")])
@pytest.mark.parametrize("method", METHODS)
def test_content_past_its_length_never_completes_a_request(
    talk: Conversation, method: str, pieces: tuple[bytes, ...]
) -> None:
    """As much as was said has come in well-formed frames before the rest shows what it is."""
    client = RawHttp2(talk)
    begins(client, 5, method)
    for piece in pieces:
        client.writes(frame(DATA, 0, 1, piece))
    assert whole(talk) == []
    client.writes(frame(DATA, END_STREAM, 1, SMUGGLED))
    assert whole(talk) == []
    assert talk.upstream().is_closed
    assert talk.record.reason is Reason.REQUEST_MALFORMED


@pytest.mark.parametrize("end", ["empty content", "trailers", "with the last content"])
@pytest.mark.parametrize("method", METHODS)
def test_content_of_its_length_completes_a_request_with_its_end(
    talk: Conversation, method: str, end: str
) -> None:
    client = RawHttp2(talk)
    begins(client, 5, method)
    client.writes(frame(DATA, 0, 1, b"he"))
    client.writes(frame(DATA, END_STREAM if end == "with the last content" else 0, 1, b"llo"))
    if end == "empty content":
        client.writes(frame(DATA, END_STREAM, 1))
    elif end == "trailers":
        client.writes(frame(HEADERS, 5, 1, block([(b"x-sum", b"1")])))
    assert whole(talk) == [b"hello"]
    talk.upstream().says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.status(1) == 204


def test_large_content_of_its_length_passes_whole(talk: Conversation) -> None:
    client, content = Http2Client(talk), b"0123456789" * 30_000
    number = client.asks("/a", "POST", (b"content-length", b"%d" % len(content)), ends=False)
    client.sends(number, content)
    assert whole(talk) == []
    client.sends(number, b"", ends=True)
    assert whole(talk) == [content]
    talk.upstream().says(OK)
    assert client.got(number).is_whole


def test_content_of_its_length_that_never_ends_times_out(converse: Converse) -> None:
    talk = converse(timeouts=Timeouts(request_head=5.0))
    client = RawHttp2(talk)
    begins(client, 0)
    talk.later(4.0)
    assert client.status(1) == 0
    talk.later(2.0)
    assert client.status(1) == 408
    assert client.was_reset(1) == NO_ERROR
    assert not talk.upstreams
    assert talk.record.reason is Reason.REQUEST_TIMEOUT


def test_a_client_that_takes_an_unfinished_request_back_is_counted(talk: Conversation) -> None:
    client = RawHttp2(talk)
    begins(client, 0)
    client.writes(frame(RST_STREAM, 0, 1, bytes(4)))
    talk.later(2.0)
    assert talk.observed.glitches["reset"] == 1
    assert refusals(talk) == UNFINISHED
    assert talk.record.status == 0


def test_a_request_that_has_not_ended_is_still_served_at_the_end_of_the_server(talk: Conversation) -> None:
    client = RawHttp2(talk)
    begins(client, 0)
    talk.server.begin_drain()
    client.writes(frame(6, 1, 0, bytes(8)))  # a round trip is over
    assert not client.client.is_closed
    client.writes(frame(DATA, END_STREAM, 1))
    talk.upstream().says(OK)
    assert client.status(1) == 200
    assert client.client.got_goodbye


def test_a_client_that_says_no_more_gets_its_answers(talk: Conversation) -> None:
    client = RawHttp2(talk)
    for number in (1, 3, 5, 7, 9, 11):
        begins(client, 0, number=number)
    client.asks(13, request("/b"))
    client.client.says_no_more()
    talk.upstream().says(OK)
    assert client.status(13) == 200
    assert [client.status(number) for number in (1, 3, 5, 7, 9, 11)] == [400] * 6
    assert [client.was_reset(number) for number in (1, 3, 5, 7, 9, 11)] == [NO_ERROR] * 6
    assert client.client.got_goodbye
    assert len(talk.observed.records) == 7


def leaves(client: RawHttp2) -> None:
    client.client.transport.reset()


def breaks_off(client: RawHttp2) -> None:
    client.writes(frame(DATA, 0, 0))


def floods(client: RawHttp2) -> None:
    client.writes(frame(PING, 0, 0, bytes(8)) * 2000)


@pytest.mark.parametrize("ends", [leaves, breaks_off, floods])
@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_client_that_leaves_within_its_requests_leaves_a_record_of_each(
    talk: Conversation, ends: Callable[[RawHttp2], None], count: int
) -> None:
    client = RawHttp2(talk)
    for number in range(1, 2 * count, 2):
        begins(client, 0, number=number)
    ends(client)
    talk.later(3.0)
    leaves(client)
    talk.loop.settle()
    assert refusals(talk) == UNFINISHED * count
    assert {record.status for record in talk.observed.records} == {0}
    assert talk.server.under_way.count == talk.server.connections == 0
