"""HTTP/1.1 connections that pause: the parser is released meanwhile, and what follows is read as without a pause."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.message import Request
from sidecar.proxy.client.http1_reader import RequestReader
from sidecar.proxy.configuration import Limits
from tests.support.conversation import Conversation

GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
PARTS = [
    GET,
    b"POST /b HTTP/1.1\r\nHost: api\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
    b"GET /d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /e HTTP/1.0\r\n\r\n",
    b"GET /f HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n",
    b"PUT /g HTTP/1.1\r\nHost: api\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\0",
    b"GET /h HTTP/1.1\nHost: api\n\n",
    b"GET /i HTTP/2.0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
]


def read_all(pieces: list[bytes], *, rests: bool) -> object:
    """What a reader makes of the pieces, with or without a rest wherever its owner would allow one."""
    reader, seen = RequestReader(Limits()), list[Request]()
    for piece in pieces:
        reader.give(piece)
        while reader.unread and reader.fault is None:
            reader.read()
            if reader.message is not None:
                seen.append(reader.message)
                reader.message = None
        if rests and seen and seen[-1].keep_alive:
            reader.rest()
    heads = [
        (
            one.method,
            one.target,
            one.fields,
            one.minor_version,
            one.chunks,
            one.trailers,
            one.complete,
            one.fault,
        )
        for one in seen
    ]
    return heads, reader.fault


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=6), st.sets(st.integers(1, 300), max_size=6))
def test_messages_are_read_as_without_a_rest(parts: list[bytes], cuts: set[int]) -> None:
    data = GET + b"".join(parts)
    ends = [len(GET), *sorted(len(GET) + cut for cut in cuts), len(data)]
    pieces = [GET, *(data[begin:end] for begin, end in pairwise(ends))]
    assert read_all(pieces, rests=True) == read_all(pieces, rests=False)


def test_the_parser_is_there_while_a_message_is_in_progress() -> None:
    reader = RequestReader(Limits())
    for piece in (PARTS[1][:20], PARTS[1][20:-2]):
        reader.give(piece)
        reader.read()
        reader.message = None
        reader.rest()
        assert reader._parser is not None
    reader.give(PARTS[1][-2:])
    reader.read()
    reader.rest()
    assert reader._parser is None
    reader.close()
    reader.give(GET)
    reader.read()
    assert reader.fault is not None


@pytest.mark.parametrize("pause", [0.3, 3.0, 30.0])
def test_requests_are_served_after_a_pause(talk: Conversation, pause: float) -> None:
    client = talk.client()
    for body in (b"", b"some content"):
        for number in range(3):
            client.says(
                b"POST /%d HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n" % (number, len(body)) + body
            )
            upstream = talk.upstreams[-1]
            seen = upstream.request()
            assert seen is not None
            assert (seen.target, seen.body) == (f"/{number}", body)
            upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert client.statuses() == [200]
            talk.later(pause)
    client.says(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
    talk.upstreams[-1].says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.statuses() == [200]
    talk.later(2)
    client.says(b"no request\r\n\r\n")
    assert client.statuses() == [400]
