"""UserInfo (OpenID Connect Core §5.3) is a protected resource like any: rules decide about it, and no form is read."""

from contextlib import ExitStack

import pytest

from sidecar.decision.denial import Reason
from tests.support.conversation import Conversation
from tests.support.pki import Pki
from tests.support.token_endpoint import TokenWorld, form

HEAD = b"GET /userinfo HTTP/1.1\r\nHost: as.example.com\r\nAuthorization: Bearer t\r\n\r\n"


@pytest.fixture
def talk(world: TokenWorld, stack: ExitStack) -> Conversation:
    return stack.enter_context(world.conversation())


def test_the_rules_are_asked_and_the_server_is_told_no_certificate(talk: Conversation, pki: Pki) -> None:
    client = talk.client(pki.client)
    client.says(HEAD)
    upstream = talk.upstream()
    seen = upstream.request()
    assert seen is not None
    assert (seen.method, seen.target) == ("GET", "/userinfo")
    assert seen.all("client-cert") == []
    assert [one.path for one in talk.gate.asked] == ["/userinfo"]
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert client.answer().status == 200
    assert talk.record.client is None


def test_what_the_rules_refuse_does_not_reach_the_server(talk: Conversation, pki: Pki) -> None:
    talk.gate.refuse("/userinfo", Reason.BINDING_MISMATCH)
    client = talk.client(pki.other_client)
    client.says(HEAD)
    answer = client.answer()
    assert answer.status == 401
    assert "invalid_token" in (answer.header("www-authenticate") or "")
    assert talk.untouched


@pytest.mark.parametrize("client_id", ["tpp-1", "nobody"])
def test_a_form_that_is_posted_to_it_is_no_token_request(
    client_id: str, talk: Conversation, pki: Pki
) -> None:
    """OpenID Connect Core §5.3.1: the UserInfo Endpoint takes POST as well."""
    client = talk.client(pki.client)
    client.says(form("/userinfo", b"Authorization: Bearer t", b"Client-Cert: :AAAA:", client_id=client_id))
    seen = talk.upstream().request()
    assert seen is not None
    assert client_id.encode() in seen.body
    assert seen.all("client-cert") == []
