"""A request to a token endpoint over HTTP/2 (RFC 9113): authenticated, handed on and audited as over HTTP/1.1."""

import json
from contextlib import ExitStack
from urllib.parse import urlencode

import pytest

from sidecar.decision.denial import Reason
from tests.support.conversation import Conversation
from tests.support.http2_client import Got, Http2Client
from tests.support.mint import SigningKey
from tests.support.pki import Identity, Pki
from tests.support.token_endpoint import TokenWorld, answer

TYPE = (b"content-type", b"application/x-www-form-urlencoded")
BODY = urlencode(
    {"grant_type": "client_credentials", "client_id": "tpp-1", "scope": "accounts:read"}
).encode()


@pytest.fixture
def talk(world: TokenWorld, stack: ExitStack) -> Conversation:
    return stack.enter_context(world.conversation())


def asked(client: Http2Client, *pieces: bytes, path: str = "/token") -> int:
    """A form, each piece a DATA frame; there is no Content-Length."""
    number = client.asks(path, "POST", TYPE, ends=False)
    for at, piece in enumerate(pieces):
        client.sends(number, piece, ends=at == len(pieces) - 1)
    return number


def refused(got: Got) -> tuple[int, str]:
    return got.status, json.loads(got.body)["error"]


@pytest.mark.parametrize("cut", [len(BODY), 1, 20])
def test_rightful_client_gets_its_token_and_the_server_gets_the_form_whole(
    cut: int, talk: Conversation, pki: Pki, signing_key: SigningKey
) -> None:
    client = Http2Client(talk, pki.client)
    number = asked(client, *(piece for piece in (BODY[:cut], BODY[cut:]) if piece))
    upstream = talk.upstream()
    seen = upstream.request()
    assert seen is not None
    assert (seen.method, seen.target, seen.body) == ("POST", "/token", BODY)
    assert seen.all("content-length") == [str(len(BODY))]
    assert len(seen.all("client-cert")) == 1
    issued = json.dumps({"access_token": signing_key.token(pki.client), "token_type": "Bearer"}).encode()
    upstream.says(answer(issued))
    got = client.got(number)
    assert (got.status, got.body, got.is_whole) == (200, issued, True)
    assert talk.record.client is not None
    assert (talk.record.client.matched, talk.record.client.issued) == ("san_dns=client-1.example", "bound")


@pytest.mark.parametrize("who", ["other_client", "stranger", None])
def test_thief_is_an_invalid_client_and_nothing_goes_on(
    who: str | None, talk: Conversation, pki: Pki
) -> None:
    identity: Identity | None = getattr(pki, who) if who else None
    client = Http2Client(talk, identity)
    assert refused(client.got(asked(client, BODY))) == (400, "invalid_client")
    assert talk.untouched


def test_streams_of_one_connection_are_judged_each_for_itself(
    talk: Conversation, pki: Pki, signing_key: SigningKey
) -> None:
    client = Http2Client(talk, pki.client)
    wrong = asked(client, BODY.replace(b"tpp-1", b"lone"))
    right = asked(client, BODY)
    unbound = json.dumps(
        {"access_token": signing_key.token(pki.other_client), "token_type": "Bearer"}
    ).encode()
    talk.upstream().says(answer(unbound))
    assert refused(client.got(wrong)) == (400, "invalid_client")
    assert client.got(right).status == 200
    assert talk.untouched
    reasons = [(one.reason, one.client.issued if one.client else "") for one in talk.observed.records]
    assert reasons == [(Reason.CLIENT_CERTIFICATE_MISMATCH, ""), (None, "mismatch")]


def test_form_that_is_cut_off_by_the_client_is_no_request(talk: Conversation, pki: Pki) -> None:
    client = Http2Client(talk, pki.client)
    number = client.asks("/token", "POST", TYPE, ends=False)
    client.sends(number, BODY)
    client.resets(number)
    assert talk.untouched
    assert talk.record.reason is Reason.REQUEST_MALFORMED


def test_form_over_the_limit_is_refused_while_it_comes(talk: Conversation, pki: Pki) -> None:
    client = Http2Client(talk, pki.client)
    number = asked(client, *[b"a" * 16000] * 5)
    assert client.got(number).status == 413
    assert talk.untouched


def test_another_spelling_of_the_endpoint_is_not_found(talk: Conversation, pki: Pki) -> None:
    client = Http2Client(talk, pki.client)
    assert client.got(asked(client, BODY, path="/Token")).status == 404
    assert talk.untouched
