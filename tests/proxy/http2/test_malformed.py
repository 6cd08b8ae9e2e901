"""Rows of RFC 9113 §8 and the attacks on downgrades from HTTP/2, byte for byte through the wire: none reaches an API.

What each row is refused by, our reading or the engine's, is no matter here: `tests/http/test_http2_request.py` has our
reading alone.
"""

import pytest

from sidecar.http.message import Field
from sidecar.proxy.http2.events import PROTOCOL_ERROR
from tests.http.test_http2_request import MALFORMED, OTHERWISE_REFUSED
from tests.support.conversation import Conversation
from tests.support.http2_client import RawHttp2
from tests.support.http2_frames import DATA, END_STREAM, HEADERS, block, frame, request

ROWS: dict[str, tuple[Field, ...]] = MALFORMED | {row: found[0] for row, found in OTHERWISE_REFUSED.items()}
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: api\r\n\r\n"


def is_refused(client: RawHttp2, number: int = 1) -> bool:
    """With an answer of ours or a reset; and not by silence."""
    return client.status(number) >= 400 or client.was_reset(number) == PROTOCOL_ERROR


@pytest.mark.parametrize("row", ROWS)
def test_no_malformed_request_is_passed_on(talk: Conversation, row: str) -> None:
    client = RawHttp2(talk)
    client.asks(1, list(ROWS[row]))
    assert is_refused(client)
    assert talk.untouched
    assert not talk.gate.asked
    assert len(talk.observed.records) == 1, "it has its record all the same"
    client.asks(3, request())
    assert len(talk.gate.asked) == 1, "and the connection is none the worse"
    talk.upstream().says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.status(3) == 204


@pytest.mark.parametrize(
    "field",
    [
        (b"content-length", b"0"),
        (b"transfer-encoding", b"chunked"),
        (b"x", b"y\r\ntransfer-encoding: chunked"),
        (b"x: y\r\ntransfer-encoding", b"chunked"),
        (b"transfer-encoding : chunked\r\nx", b"y"),
    ],
    ids=["H2.CL", "H2.TE", "value", "name", "name with colon"],
)
def test_no_request_is_smuggled_in_content(talk: Conversation, field: Field) -> None:
    client = RawHttp2(talk)
    client.asks(1, request("/a", "POST", field), ends=False)
    client.writes(frame(DATA, END_STREAM, 1, SMUGGLED))
    assert is_refused(client)
    assert b"/admin" not in b"".join(upstream.hears_all() for upstream in talk.upstreams)
    assert all(upstream.is_closed for upstream in talk.upstreams)
    assert all(head.path != "/admin" for head in talk.gate.asked)


@pytest.mark.parametrize("name", [b":method", b":path", b":authority", b":scheme"])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r", b"\0"])
def test_no_request_is_smuggled_in_a_pseudo_header_field(
    talk: Conversation, name: bytes, line_end: bytes
) -> None:
    fields = [
        (each, value + b" HTTP/1.1" + line_end + b"x: y" if each == name else value)
        for each, value in request()
    ]
    client = RawHttp2(talk)
    client.asks(1, fields)
    assert is_refused(client)
    assert talk.untouched


def test_no_content_of_head_is_taken_for_another_request(talk: Conversation) -> None:
    client = RawHttp2(talk)
    client.asks(1, request("/a", "HEAD"), ends=False)
    client.writes(frame(DATA, END_STREAM, 1, SMUGGLED))
    seen = talk.upstream().request()
    assert seen is not None
    assert seen.body == SMUGGLED, "as what it is: content, in chunks"
    assert [head.path for head in talk.gate.asked] == ["/a"]
    talk.upstreams[0].says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert client.status(1) == 200


def test_data_after_the_end_ends_the_connection(talk: Conversation) -> None:
    client = RawHttp2(talk)
    client.asks(1, request("/a", "POST"))
    client.writes(frame(DATA, END_STREAM, 1, b"x"))
    assert client.goaway() not in (None, 0)
    assert talk.upstream().is_closed
    assert [name for name, _ in talk.observed.incidents] == ["http2_broken"]


@pytest.mark.parametrize(
    "spoilt",
    [
        frame(HEADERS, 5, 2, block(request())),
        frame(HEADERS, 5, 0, block(request())),
        frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff"),
        frame(8, 0, 0, bytes(4)),
        frame(8, 0, 0, b"\x7f\xff\xff\xff"),
        frame(4, 0, 0, b"\0\2\0\0\0\2"),
        frame(4, 0, 0, b"\0\5\0\0\0\0"),
        frame(6, 0, 0, b"short"),
        frame(9, 4, 1, b""),
        frame(5, 4, 1, bytes(4)),
        b"\xff\xff\xff\0\0\0\0\0\1",
    ],
    ids=[
        "an even stream",
        "a head without a stream",
        "no HPACK",
        "a window of nothing",
        "a window that overflows",
        "a setting that is none",
        "frames of no size",
        "half a ping",
        "a continuation of nothing",
        "a push",
        "a frame past every size",
    ],
)
def test_what_breaks_a_connection_ends_it_with_a_word_and_an_incident(
    talk: Conversation, spoilt: bytes
) -> None:
    client = RawHttp2(talk)
    client.writes(spoilt)
    assert client.goaway() not in (None, 0)
    assert client.client.got_goodbye
    assert talk.untouched
    ((incident, _),) = talk.observed.incidents
    assert incident == "http2_broken"


def test_a_client_that_speaks_another_protocol_is_no_flood(talk: Conversation) -> None:
    """RFC 9113 §3.4: PROTOCOL_ERROR."""
    client = RawHttp2(talk, settles=False)
    client.writes(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
    assert client.goaway() == PROTOCOL_ERROR
    assert [incident for incident, _ in talk.observed.incidents] == ["http2_broken"]
