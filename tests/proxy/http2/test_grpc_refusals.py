"""A request of gRPC that is refused, or ends early, is told so in gRPC's words."""

from dataclasses import replace

import pytest

from sidecar.decision.denial import Reason
from sidecar.decision.permit import Permit
from sidecar.http.message import Field
from sidecar.proxy.configuration import HTTP2, Limits
from sidecar.proxy.http2.events import CANCEL, INTERNAL_ERROR, NO_ERROR
from tests.proxy.conftest import Converse
from tests.support.conversation import UPSTREAM, Conversation
from tests.support.http2_client import Got, Http2Client
from tests.support.http2_upstream import Http2Api

GRPC: tuple[Field, ...] = ((b"content-type", b"application/grpc+proto"), (b"te", b"trailers"))
H2 = replace(UPSTREAM, protocol=HTTP2)


@pytest.fixture
def talk(converse: Converse) -> Conversation:
    """The API speaks gRPC."""
    return converse(upstream=H2)


def begun(talk: Conversation) -> Http2Api:
    """The API has begun its answer to the one call."""
    api = Http2Api(talk.upstream())
    api.says(1, 200, (b"content-type", b"application/grpc"), data=b"one", ends=False)
    return api


def calls(client: Http2Client, path: str = "/a", *others: Field) -> int:
    return client.asks(path, "POST", *GRPC, *others, ends=False)


def is_refused_with(got: Got, code: int) -> bool:
    return (got.status, got.fields["grpc-status"], got.body, got.is_whole) == (200, str(code), b"", True)


@pytest.mark.parametrize(
    ("reason", "code"),
    [(Reason.TOKEN_EXPIRED, 16), (Reason.SCOPE_INSUFFICIENT, 7), (Reason.ISSUER_UNAVAILABLE, 14)],
)
def test_a_refusal_keeps_its_reason_and_its_challenge(talk: Conversation, reason: Reason, code: int) -> None:
    talk.gate.refuse("/a", reason)
    client = Http2Client(talk)
    got = client.got(calls(client))
    assert is_refused_with(got, code)
    assert got.reset == NO_ERROR
    assert got.fields["grpc-message"].startswith(reason.value)
    assert got.fields["x-request-id"] == talk.record.request_id
    assert ("www-authenticate" in got.fields) is (reason is not Reason.ISSUER_UNAVAILABLE)
    assert (talk.record.reason, talk.record.grpc_status) == (reason, code)


def test_a_request_without_grpc_gets_plain_http(talk: Conversation) -> None:
    talk.gate.refuse("/a", Reason.TOKEN_EXPIRED)
    client = Http2Client(talk)
    got = client.got(client.asks("/a", "POST", (b"content-type", b"application/grpc-web")))
    assert got.status == 401
    assert talk.record.grpc_status == -1


def test_an_upstream_out_of_reach_is_unavailable(talk: Conversation) -> None:
    talk.reachable = False
    client = Http2Client(talk)
    assert is_refused_with(client.got(calls(client)), 14)


def test_too_much_content_exhausts_a_resource(converse: Converse) -> None:
    talk = converse(upstream=H2, limits=Limits(body_bytes=3))
    client = Http2Client(talk)
    number = calls(client)
    client.sends(number, b"four")
    assert is_refused_with(client.got(number), 8)


def test_no_answer_in_time_exceeds_the_deadline(converse: Converse) -> None:
    talk = converse(upstream=replace(H2, response_timeout=5.0))
    client = Http2Client(talk)
    number = calls(client)
    client.sends(number, b"", ends=True)
    talk.later(6.0)
    assert is_refused_with(client.got(number), 4)


@pytest.mark.parametrize("total", [0.0, 60.0])
def test_the_time_that_the_client_waits_is_the_requests(converse: Converse, total: float) -> None:
    talk = converse(upstream=replace(H2, total_timeout=total))
    client = Http2Client(talk)
    number = calls(client, "/a", (b"grpc-timeout", b"2S"))
    api = Http2Api(talk.upstream())
    assert api.asked[1].value("grpc-timeout") == "2S"
    talk.later(3.0)
    assert is_refused_with(client.got(number), 4)
    api.pump()
    assert api.asked[1].reset == CANCEL


def test_a_stream_whose_token_expires_ends_with_that_status(talk: Conversation) -> None:
    talk.gate.valid_until = talk.wall + 5.0
    client = Http2Client(talk)
    number = calls(client)
    api = begun(talk)
    talk.later(6.0)
    got = client.got(number)
    assert (got.status, got.body, got.trailers["grpc-status"]) == (200, b"one", "16")
    assert got.trailers["grpc-message"] == "token_expired: The access token expired"
    assert got.reset == NO_ERROR, "its own half is refused"
    api.pump()
    assert api.asked[1].reset == CANCEL
    assert (talk.record.ended_by, talk.record.grpc_status) == ("token_expired", 16)


def test_an_api_that_breaks_off_is_unavailable(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = calls(client)
    begun(talk).upstream.resets()
    assert client.got(number).trailers["grpc-status"] == "14"


def test_an_answer_that_said_its_length_is_reset_when_it_breaks_off(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = calls(client)
    api = Http2Api(talk.upstream())
    api.says(1, 200, (b"content-length", b"9"), data=b"abc", ends=False)
    api.upstream.resets()
    assert client.got(number).reset == INTERNAL_ERROR


def test_what_the_api_says_of_the_call_is_in_the_record(talk: Conversation) -> None:
    client = Http2Client(talk)
    number = calls(client)
    client.sends(number, b"x", ends=True)
    begun(talk).trails(1, (b"grpc-status", b"5"))
    got = client.got(number)
    assert (got.trailers, got.is_whole) == ({"grpc-status": "5"}, True)
    assert talk.record.grpc_status == 5


def test_a_call_where_the_api_is_asked_in_http_1_is_unimplemented(converse: Converse) -> None:
    talk = converse(upstream=UPSTREAM)
    client = Http2Client(talk)
    got = client.got(calls(client))
    assert is_refused_with(got, 12)
    assert got.fields["grpc-message"] == "grpc_unsupported: The protected resource does not speak gRPC"
    assert talk.untouched, "the API hears nothing of it"
    assert isinstance(talk.record.decision, Permit)
    assert (talk.record.reason, talk.record.status) == (Reason.GRPC_UNSUPPORTED, 501)
    assert talk.record.detail == "the API is asked in http/1.1"
    assert talk.record.grpc_status == 12
    assert client.got(client.asks("/b")).status == 0, "the connection lives on, and so do other requests"


def test_who_is_not_permitted_does_not_hear_what_the_api_speaks(converse: Converse) -> None:
    talk = converse(upstream=UPSTREAM)
    talk.gate.refuse("/a", Reason.TOKEN_EXPIRED)
    client = Http2Client(talk)
    assert is_refused_with(client.got(calls(client)), 16)


def test_grpc_web_is_http_and_passes_to_an_api_of_http_1(converse: Converse) -> None:
    talk = converse(upstream=UPSTREAM)
    client = Http2Client(talk)
    number = client.asks("/a", "POST", (b"content-type", b"application/grpc-web+proto"))
    talk.upstream().says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.got(number).body == b"ok"
