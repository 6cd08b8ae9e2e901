"""Requests to an authorization server's endpoints: what may go wrong between one event and the next."""

import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from sidecar.decision.denial import Reason
from tests.support.conversation import UPSTREAM, Conversation
from tests.support.pki import Pki
from tests.support.token_endpoint import TokenWorld, answer, form

TOKEN = b'{"access_token":"opaque","token_type":"Bearer"}'
FORGED = (
    b"POST /token HTTP/1.1\r\nHost: as.example.com\r\nClient-Cert: :FORGED:\r\nContent-Length: 16\r\n\r\n"
    b"client_id=tpp-1&"
)
METHODS = ["PUT", "GET", "DELETE", "PATCH", "HEAD", "OPTIONS"]


def one_connection(world: TokenWorld, stack: ExitStack) -> Conversation:
    settings = world.settings()
    talk = stack.enter_context(
        Conversation(
            endpoints=world.endpoints(settings),
            hand_over_headers=settings.hand_over_names,
            upstream=replace(UPSTREAM, max_connections=1),
        )
    )
    talk.wall = time.time()
    return talk


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("method", METHODS)
def test_content_of_any_method_is_framed(
    method: str, framing: str, world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    """Without a length it would be a request of its own to the server, with fields that no client may send."""
    talk = stack.enter_context(world.conversation(report_only_until=4e9))
    head, content = b"Content-Length: %d" % len(FORGED), FORGED
    if framing == "chunked":
        head, content = b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(FORGED), FORGED)
    talk.client(pki.other_client).says(
        b"%b /token HTTP/1.1\r\nHost: as.example.com\r\n%b\r\n\r\n%b" % (method.encode(), head, content)
    )
    upstream = talk.upstream()
    (seen,) = upstream.requests()
    assert (seen.method, seen.body) == (method, FORGED)
    assert seen.all("Content-Length") == [str(len(FORGED))]


@pytest.mark.parametrize(
    ("moment", "reason"),
    [("within the form", Reason.CLIENT_CERTIFICATE_EXPIRED), ("in line", Reason.CERTIFICATE_EXPIRED)],
)
def test_certificate_that_ends_before_the_server_has_the_request_authenticates_nobody(
    moment: str, reason: Reason, world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = one_connection(world, stack)
    other = talk.client(pki.other_client)
    other.says(b"GET /elsewhere HTTP/1.1\r\nHost: as.example.com\r\n\r\n")
    upstream = talk.upstream()
    assert len(upstream.requests()) == 1
    talk.wall = pki.client.certificate.not_valid_after_utc.timestamp() - 5 - (talk.loop.time() - 1000.0)
    client, whole = talk.client(pki.client), form(client_id="tpp-1")
    client.says(whole if moment == "in line" else whole[:-5])
    talk.later(8)
    if moment == "within the form":
        client.says(whole[-5:])
    assert client.answer().status in (400, 401)
    upstream.says(answer(TOKEN))
    assert not upstream.requests()
    assert talk.observed.records[0].reason is reason


def test_response_of_faulty_framing_to_one_request_takes_no_other_with_it(
    world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = one_connection(world, stack)
    first, second = talk.client(pki.client), talk.client(pki.client, ("192.0.2.9", 1))
    first.says(form(client_id="tpp-1"))
    second.says(form(client_id="tpp-1", scope="second"))
    talk.upstream().says(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    )
    assert first.answer().status == 502
    for upstream in talk.upstreams:
        if upstream.requests() and not upstream.is_closed:
            upstream.says(answer(TOKEN))
    assert second.answer().status == 200


def test_client_that_does_not_read_holds_an_answer_that_is_too_long_to_be_kept(
    world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = stack.enter_context(world.conversation())
    client = talk.client(pki.client)
    client.says(form(client_id="tpp-1"))
    upstream = talk.upstream()
    client.stops_reading()
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10000000\r\n\r\n")
    sent = 0
    while upstream.is_read and sent < 10_000_000:
        upstream.says(b"x" * 65536)
        sent += 65536
    assert sent < 1_000_000
    client.resets()
