"""RTSP and ICE have request lines like HTTP's, and the parser takes them for it."""

import pytest

from sidecar.proxy.configuration import Limits
from tests.proxy.conftest import Converse
from tests.support.conversation import Conversation

HTTP = b"GET /x HTTP/1.1\r\nHost: api\r\n\r\n"
OTHERS = [
    b"GET /x RTSP/1.0\r\nHost: api\r\n\r\n",
    b"GET  /x   RTSP/1.0\r\nHost: api\r\n\r\n",
    b"\r\n\r\nGET /x RTSP/1.0\r\nHost: api\r\n\r\n",
    b"GET http://api/x?a=b RTSP/1.0\r\nHost: api\r\n\r\n",
    b"OPTIONS * RTSP/1.0\r\nHost: api\r\n\r\n",
    b"POST /x RTSP/1.1\r\nHost: api\r\nContent-Length: 3\r\n\r\nabc",
    b"SOURCE /x ICE/1.0\r\nHost: api\r\n\r\n",
]


@pytest.mark.parametrize("head", OTHERS)
def test_request_line_of_another_protocol_is_400_and_nobody_is_asked(talk: Conversation, head: bytes) -> None:
    client = talk.client()
    client.says(head)
    assert client.statuses() == [400]
    assert client.got_goodbye
    assert talk.gate.asked == []


@pytest.mark.parametrize("head", OTHERS)
def test_it_is_400_however_it_arrives(talk: Conversation, head: bytes) -> None:
    for size in range(1, 20):
        client = talk.client()
        client.says(*[head[start : start + size] for start in range(0, len(head), size)])
        assert client.statuses() == [400]
    assert talk.gate.asked == []


@pytest.mark.parametrize("head", OTHERS)
def test_it_is_400_behind_another_request_too(talk: Conversation, head: bytes) -> None:
    decoy = head.replace(b"RTSP/1.0", b"HTTP/1.1").replace(b"ICE/1.0", b"HTTP/1.1")
    body = b"POST /y HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n%s" % (len(decoy), decoy)
    talk.gate.refuse("/y")
    for cut in (len(body) - len(decoy), len(body) - 1, len(body), len(body) + 3, len(body) + 12):
        client = talk.client()
        client.says((body + head)[:cut], (body + head)[cut:])
        assert client.statuses() == [403, 400]
    assert {asked.path for asked in talk.gate.asked} == {"/y"}


def test_it_is_400_behind_the_same_request_in_http(talk: Conversation) -> None:
    client = talk.client()
    client.says(HTTP + OTHERS[0])
    talk.upstream().says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.statuses()[-1] == 400
    assert len(talk.gate.asked) <= 1


@pytest.mark.parametrize(("line", "status"), [(b"GET /x RTSP/1.0", 400), (b"GET /x HTTP/2.0", 505)])
def test_wrong_first_line_of_a_head_that_is_nearly_too_large_is_still_wrong(
    converse: Converse, line: bytes, status: int
) -> None:
    talk = converse(limits=Limits(header_bytes=1000))
    client = talk.client()
    client.says(line + b"\r\nHost: api\r\nX: " + b"x" * 900 + b"\r\n\r\n")
    assert client.statuses() == [status]
    assert talk.gate.asked == []


@pytest.mark.parametrize(
    "field",
    [b"X: RTSP/1.0", b"X: a RTSP/1.0", b"User-Agent: player ICE/1.0 RTSP/1.0", b"X: /SERVICE/ICE/ RTSP/"],
)
def test_name_of_another_protocol_elsewhere_is_nobodys_business(talk: Conversation, field: bytes) -> None:
    request = HTTP.replace(b"Host: api", b"Host: api\r\n" + field)
    client = talk.client()
    client.says(request)
    upstream = talk.upstream()
    assert upstream.hears() == request
    upstream.says(b"HTTP/1.1 204 No Content\r\n\r\n")
    client.says(*[request[at : at + 1] for at in range(len(request))])
    assert upstream.hears() == request
    upstream.says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.statuses() == [204, 204]
