"""A request to a token endpoint, from the client's bytes to the server's and back (RFC 8705 §2, RFC 6749 §3.2, §5)."""

import base64
import json
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs

import pytest

from sidecar.decision.denial import Reason
from sidecar.decision.permit import Permit
from sidecar.http.certificate_field import CertificateFormat
from sidecar.proxy.authorization_server.configuration import HandOverSettings, VerifiedField
from sidecar.proxy.configuration import CertificateHeaderSettings
from sidecar.telemetry.outcome import outcome_of
from tests.support.conversation import Client, Conversation, Upstream
from tests.support.pki import Identity, Pki, Profile, certificate_der, subject_alternative_names
from tests.support.recorder import Seen
from tests.support.token_endpoint import RFC9440, TokenWorld, answer, form

TOKEN = b'{"access_token":"opaque","token_type":"Bearer"}'


@pytest.fixture
def talk(world: TokenWorld, stack: ExitStack) -> Conversation:
    return stack.enter_context(world.conversation())


def asked(talk: Conversation, identity: Identity | None, *requests: bytes) -> Client:
    client = talk.client(identity)
    client.says(*requests)
    return client


def told(upstream: Upstream) -> Seen:
    request = upstream.request()
    assert request is not None
    return request


def one(request: Seen, name: str) -> str | None:
    """The value of a field that must not come twice."""
    values = request.all(name)
    assert len(values) < 2
    return values[0] if values else None


def cert(identity: Identity) -> str:
    return f":{base64.b64encode(identity.der).decode()}:"


# --- authenticated and handed on


def test_certificate_of_an_authenticated_client_is_handed_over_with_the_bytes_that_came(
    talk: Conversation, pki: Pki
) -> None:
    body = b"grant_type=client_credentials&client_id=tpp-1&scope=a+b%20c&resource=https%3a%2F%2Fapi"
    client = asked(talk, pki.client, form(body=body))
    upstream = talk.upstream()
    request = told(upstream)
    assert (request.method, request.target, request.body) == ("POST", "/token", body)
    assert one(request, "client-cert") == cert(pki.client)
    assert one(request, "content-length") == str(len(body))
    assert (one(request, "host"), one(request, "x-forwarded-proto")) == ("as.example.com", "https")
    upstream.says(answer(TOKEN))
    got = client.answer()
    assert (got.status, got.body) == (200, TOKEN)
    assert outcome_of(talk.record) == ("authorization_server.token", "permit", "none")


def test_self_signed_certificate_that_is_registered_is_handed_over(talk: Conversation, pki: Pki) -> None:
    asked(talk, pki.self_signed_client, form(client_id="lone"))
    assert one(told(talk.upstream()), "client-cert") == cert(pki.self_signed_client)


def test_client_that_the_server_authenticates_gets_no_header_unless_it_is_told(
    talk: Conversation, pki: Pki
) -> None:
    credentials = b"Authorization: Basic " + base64.b64encode(b"old:secret")
    asked(talk, pki.client, form("/token", credentials, client_id="old"))
    request = told(talk.upstream())
    assert (one(request, "client-cert"), one(request, "authorization")) == (
        None,
        credentials.decode().partition(": ")[2],
    )
    asked(talk, pki.client, form(client_id="told", client_secret="secret"))
    assert one(told(talk.upstream()), "client-cert") == cert(pki.client)


@pytest.mark.parametrize("path", ["/token", "/par", "/introspect", "/revoke"])
def test_every_endpoint_is_handed_the_certificate_at_the_path_of_the_server(
    path: str, talk: Conversation, pki: Pki
) -> None:
    asked(talk, pki.client, form(path, client_id="tpp-1"))
    request = told(talk.upstream())
    assert request.target == {"/par": "/request"}.get(path, path)
    assert one(request, "client-cert") == cert(pki.client)


def test_query_and_proof_of_dpop_go_on(talk: Conversation, pki: Pki) -> None:
    client = asked(talk, pki.client, form("/token?tenant=1", b"DPoP: e30.e30.x", client_id="tpp-1"))
    upstream = talk.upstream()
    request = told(upstream)
    assert (request.target, one(request, "dpop")) == ("/token?tenant=1", "e30.e30.x")
    upstream.says(answer(b'{"error":"use_dpop_nonce"}', b"400 Bad Request", b"DPoP-Nonce: n-1"))
    assert client.answer().header("dpop-nonce") == "n-1"


def test_form_in_chunks_goes_on_with_its_length(talk: Conversation, pki: Pki) -> None:
    head = form(client_id="tpp-1").partition(b"Content-Length")[0]
    chunked = head + b"Transfer-Encoding: chunked\r\nTrailer: x\r\n\r\n"
    asked(talk, pki.client, chunked, b"e\r\nclient_id=tpp-\r\n", b"1\r\n1\r\n0\r\nx: y\r\n\r\n")
    request = told(talk.upstream())
    assert (request.body, one(request, "content-length")) == (b"client_id=tpp-1", "15")
    assert one(request, "transfer-encoding") is None


def test_nothing_goes_on_before_the_form_is_whole(talk: Conversation, pki: Pki) -> None:
    whole = form(client_id="tpp-1", scope="a" * 2000)
    client = asked(talk, pki.client, *(whole[at : at + 1] for at in range(len(whole) - 1)))
    assert talk.untouched
    client.says(whole[-1:])
    assert told(talk.upstream()).body.endswith(b"a" * 2000)


def test_client_that_waits_for_100_is_told_to_go_on(talk: Conversation, pki: Pki) -> None:
    whole = form("/token", b"Expect: 100-continue", client_id="tpp-1")
    head, _, body = whole.partition(b"\r\n\r\n")
    client = asked(talk, pki.client, head + b"\r\n\r\n")
    assert client.hears() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.says(body)
    assert one(told(talk.upstream()), "expect") is None


# --- how the server is told


@pytest.mark.parametrize("form_of", [*CertificateFormat])
def test_verified_field_and_secret_fields_come_with_every_format(
    form_of: CertificateFormat, world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    secrets = world.folder / "extra"
    secrets.write_text("cname-api-key: k-1\nX-Proxy: edge\n")
    hand_over = HandOverSettings(
        header=CertificateHeaderSettings(form_of, "X-Cert"),
        verified=VerifiedField("X-Verified", "SUCCESS", "NONE"),
        extra_headers_file=secrets,
        extra_names=frozenset({"cname-api-key", "X-Proxy"}),
    )
    talk = stack.enter_context(world.conversation(hand_over=hand_over))
    forged = (b"X-Cert: forged", b"X-Verified: SUCCESS", b"x_verified: SUCCESS", b"cname-api-key: k-2")
    asked(talk, pki.client, form("/token", *forged, client_id="tpp-1"))
    request = told(talk.upstream())
    assert "forged" not in (one(request, "x-cert") or "")
    assert one(request, "x-cert")
    assert (one(request, "x-verified"), one(request, "cname-api-key")) == ("SUCCESS", "k-1")
    asked(talk, pki.client, form("/token", *forged, client_id="old"))
    request = told(talk.upstream())
    assert (one(request, "x-cert"), one(request, "x-verified")) == (None, "NONE")
    assert one(request, "cname-api-key") is None
    asked(talk, pki.client, form("/token", *forged, client_id="told"))
    request = told(talk.upstream())
    assert (one(request, "x-verified"), one(request, "cname-api-key")) == ("NONE", "k-1")


def test_chain_is_told_only_where_it_is_wanted(world: TokenWorld, stack: ExitStack, pki: Pki) -> None:
    below = pki.client_authority.intermediate()
    identity = below.issue(Profile("x", names=tuple(subject_alternative_names(dns=["client-1.example"]))))
    for chain in (False, True):
        talk = stack.enter_context(
            world.conversation(hand_over=HandOverSettings(header=RFC9440, chain=chain))
        )
        asked(talk, identity, form(client_id="tpp-1"))
        expected = f":{base64.b64encode(certificate_der(below.certificate)).decode()}:" if chain else None
        assert one(told(talk.upstream()), "client-cert-chain") == expected


@pytest.mark.parametrize(
    "request_line", [b"GET /accounts HTTP/1.1", b"POST /authorize HTTP/1.1", b"GET /userinfo HTTP/1.1"]
)
def test_fields_of_the_hand_over_are_taken_out_of_every_other_request(
    request_line: bytes, talk: Conversation, pki: Pki
) -> None:
    forged = b"\r\nHost: as\r\nClient-Cert: :AAAA:\r\nclient_cert: x\r\nClient-Cert-Chain: :AAAA:\r\n\r\n"
    asked(talk, pki.client, request_line + forged)
    heard = talk.upstream().hears().lower()
    assert b"client-cert" not in heard
    assert b"client_cert" not in heard


# --- refused


def refusal(talk: Conversation, client: Client) -> tuple[int, str, str | None]:
    got = client.answer()
    assert got.header("content-type") == "application/json"
    assert got.header("cache-control") == "no-store"
    return got.status, got.json()["error"], got.header("www-authenticate")


@pytest.mark.parametrize(
    ("client_id", "who", "reason"),
    [
        ("nobody", "client", Reason.CLIENT_UNKNOWN),
        ("tpp-1", "other_client", Reason.CLIENT_CERTIFICATE_MISMATCH),
        ("tpp-1", "stranger", Reason.CLIENT_CERTIFICATE_MISMATCH),
        ("lone", "client", Reason.CLIENT_CERTIFICATE_MISMATCH),
        ("tpp-1", None, Reason.CLIENT_CERTIFICATE_MISSING),
        ("lone", None, Reason.CLIENT_CERTIFICATE_MISSING),
    ],
)
def test_client_that_is_not_who_it_says_is_an_invalid_client_and_nothing_goes_on(
    client_id: str, who: str | None, reason: Reason, talk: Conversation, pki: Pki
) -> None:
    client = asked(talk, getattr(pki, who) if who else None, form(client_id=client_id))
    assert refusal(talk, client) == (400, "invalid_client", None)
    assert talk.untouched
    assert outcome_of(talk.record) == ("authorization_server.token", "deny", reason.value)


def test_unknown_client_and_wrong_certificate_get_the_same_bytes(talk: Conversation, pki: Pki) -> None:
    def said(client_id: str) -> bytes:
        client = asked(talk, pki.other_client, form(client_id=client_id))
        heard = client.hears()
        for record in talk.observed.records:
            heard = heard.replace(record.request_id.encode(), b"ID")
        return heard

    assert said("nobody") == said("tpp-1") == said("lone")


@pytest.mark.parametrize("credentials", [b"tpp-1:secret", b"nobody:secret", b"tpp-1:"])
def test_client_that_tried_authorization_is_challenged(
    credentials: bytes, talk: Conversation, pki: Pki
) -> None:
    line = b"Authorization: Basic " + base64.b64encode(credentials)
    status, error, challenge = refusal(talk, asked(talk, pki.client, form("/token", line)))
    assert (status, error) == (401, "invalid_client")
    assert challenge is not None
    assert challenge.startswith("Basic ")
    assert talk.untouched


@pytest.mark.parametrize(
    "request_bytes",
    [
        form(),
        form(body=b"client_id=tpp-1&client_id=tpp-1"),
        form(body=b"client_id=tpp-1&client_secret=a&client_assertion=b"),
        form(client_id="tpp-1").replace(b"x-www-form-urlencoded", b"json"),
        form("/token?client_id=tpp-1", client_id="tpp-1"),
        form(client_id="tpp-1").replace(b"POST", b"PUT"),
        form("/token", b"Content-Encoding: deflate", client_id="tpp-1"),
        form("/token", b"X-HTTP-Method-Override: GET", client_id="tpp-1"),
        form(client_id="tpp-1").replace(b"urlencoded", b"urlencoded; charset=utf-16"),
    ],
)
def test_request_that_is_not_clean_is_an_invalid_request(
    request_bytes: bytes, talk: Conversation, pki: Pki
) -> None:
    assert refusal(talk, asked(talk, pki.client, request_bytes))[:2] == (400, "invalid_request")
    assert talk.untouched


@pytest.mark.parametrize(
    "target",
    [
        "/TOKEN",
        "/token/",
        "//token",
        "/%74oken",
        "/token;a",
        "/token.json",
        "/request",
        "/Request",
        "/token%2f",
    ],
)
def test_other_spellings_of_an_endpoint_are_not_found(target: str, talk: Conversation, pki: Pki) -> None:
    client = asked(talk, pki.client, form(target, client_id="tpp-1"))
    assert client.answer().status == 404
    assert talk.untouched
    assert talk.record.reason is Reason.ENDPOINT_UNKNOWN


def test_form_over_the_limit_is_refused_at_its_head_or_when_it_comes(talk: Conversation, pki: Pki) -> None:
    client = asked(talk, pki.client, form(client_id="a" * 66_000)[:300])
    assert client.answer().status == 413
    head = form(client_id="tpp-1").partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    client = asked(talk, pki.client, head, *[b"4000\r\n" + b"a" * 0x4000 + b"\r\n"] * 5)
    assert client.answer().status == 413
    assert talk.untouched


def test_form_that_stalls_is_given_up(talk: Conversation, pki: Pki) -> None:
    client = asked(talk, pki.client, form(client_id="tpp-1")[:-5])
    talk.later(61)
    assert client.answer().status == 408
    assert talk.record.reason is Reason.REQUEST_TIMEOUT


def test_client_that_leaves_within_its_form_leaves_a_record(talk: Conversation, pki: Pki) -> None:
    client = asked(talk, pki.client, form(client_id="tpp-1")[:-5])
    client.closes()
    assert (talk.record.reason, talk.record.ended_by) == (Reason.REQUEST_MALFORMED, "client")
    assert talk.untouched


def test_malformed_chunk_within_a_form_is_refused(talk: Conversation, pki: Pki) -> None:
    head = form(client_id="tpp-1").partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    client = asked(talk, pki.client, head, b"zz\r\n")
    assert client.answer().status == 400
    assert talk.untouched


# --- report only


def test_request_that_would_be_refused_passes_without_a_certificate_while_it_is_only_reported(
    world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = stack.enter_context(world.conversation(report_only_until=4e9))
    client = asked(talk, pki.other_client, form("/token", b"Client-Cert: :AAAA:", client_id="tpp-1"))
    upstream = talk.upstream()
    assert one(told(upstream), "client-cert") is None
    upstream.says(answer(TOKEN))
    assert client.answer().status == 200
    assert outcome_of(talk.record) == (
        "authorization_server.token",
        "report",
        "client_certificate_mismatch",
    )
    asked(talk, pki.client, form(client_id="tpp-1"))
    assert one(told(upstream), "client-cert") == cert(pki.client)


def test_reporting_ends_on_its_day(world: TokenWorld, stack: ExitStack, pki: Pki) -> None:
    talk = stack.enter_context(world.conversation(report_only_until=1.0))
    assert refusal(talk, asked(talk, pki.other_client, form(client_id="tpp-1")))[0] == 400


# --- translated


def test_secret_is_put_into_authorization_form_encoded(world: TokenWorld, stack: ExitStack, pki: Pki) -> None:
    world.translates("tpp-1", "client_secret_basic")
    talk = stack.enter_context(world.conversation())
    body = b"grant_type=client_credentials&client_id=tpp-1"
    asked(talk, pki.client, form(body=body))
    request = told(talk.upstream())
    pair = base64.b64encode(b"tpp-1:s%2Bcret+%25%26").decode()
    assert (request.all("authorization"), request.body) == ([f"Basic {pair}"], body)
    assert one(request, "client-cert") == cert(pki.client), "header and translation: the token is bound"


def test_secret_is_put_behind_the_bytes_of_the_client(world: TokenWorld, stack: ExitStack, pki: Pki) -> None:
    world.translates("tpp-1", "client_secret_post")
    talk = stack.enter_context(world.conversation(hand_over=HandOverSettings()))
    asked(talk, pki.client, form(body=b"grant_type=x&client_id=tpp-1"))
    request = told(talk.upstream())
    assert request.body == b"grant_type=x&client_id=tpp-1&client_secret=s%2Bcret+%25%26"
    assert (one(request, "client-cert"), one(request, "content-length")) == (None, str(len(request.body)))


def test_assertion_is_for_the_issuer_and_new_each_time(world: TokenWorld, stack: ExitStack, pki: Pki) -> None:
    world.translates("tpp-1", "private_key_jwt", pki.server.key_pem)
    talk = stack.enter_context(world.conversation())
    seen: list[dict[str, Any]] = []
    for _ in range(2):
        asked(talk, pki.client, form(client_id="tpp-1"))
        parameters = parse_qs(told(talk.upstream()).body.decode())
        assert parameters["client_assertion_type"] == [
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        ]
        payload = parameters["client_assertion"][0].split(".")[1]
        seen.append(json.loads(base64.urlsafe_b64decode(payload + "==")))
    assert [claims["aud"] for claims in seen] == ["https://as.example.com"] * 2
    assert [claims["sub"] for claims in seen] == ["tpp-1"] * 2
    assert seen[0]["jti"] != seen[1]["jti"]


def test_credentials_of_ours_that_the_server_refuses_are_no_fault_of_the_client(
    world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    world.translates("tpp-1", "client_secret_basic")
    talk = stack.enter_context(world.conversation())
    client = asked(talk, pki.client, form(client_id="tpp-1"))
    talk.upstream().says(
        answer(b'{"error":"invalid_client"}', b"401 Unauthorized", b'WWW-Authenticate: Basic realm="as"')
    )
    assert refusal(talk, client) == (502, "server_error", None)
    assert ("server_credentials_refused", "of client tpp-1") in talk.observed.incidents
    assert outcome_of(talk.record)[1:] == ("fail", "server_credentials_refused")


def test_401_of_the_server_to_credentials_of_the_client_goes_on(talk: Conversation, pki: Pki) -> None:
    client = asked(talk, pki.client, form(client_id="old", client_secret="wrong"))
    talk.upstream().says(answer(b'{"error":"invalid_client"}', b"401 Unauthorized"))
    got = client.answer()
    assert (got.status, got.json()) == (401, {"error": "invalid_client"})


def test_request_is_sent_once_also_when_its_connection_was_stale(talk: Conversation, pki: Pki) -> None:
    client = asked(talk, pki.client, form(client_id="tpp-1"))
    upstream = talk.upstream()
    upstream.says(answer(TOKEN))
    assert client.answer().status == 200
    client.says(form(client_id="tpp-1"))
    assert [seen.target for seen in upstream.requests()] == ["/token", "/token"]
    upstream.leaves()
    assert client.answer().status == 502
    assert talk.untouched


def test_client_that_leaves_while_the_server_works_leaves_a_record(talk: Conversation, pki: Pki) -> None:
    client = asked(talk, pki.client, form(client_id="tpp-1"))
    upstream = talk.upstream()
    client.closes()
    assert upstream.is_closed
    assert isinstance(talk.record.decision, Permit)
    assert talk.record.ended_by == "client"


def test_short_memory_is_taken_from_forms_that_do_not_end(talk: Conversation, pki: Pki) -> None:
    """Until it is whole, nobody knows who sends it."""
    head = (
        b"POST /token HTTP/1.1\r\nHost: as.example.com\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    )
    head += b"Content-Length: 60000\r\n\r\n"
    greedy, modest = talk.client(), talk.client()
    greedy.says(head + b"x" * 59_000)
    modest.says(head + b"x" * 2000)
    talk.server.relieve()
    talk.loop.settle()
    assert greedy.transport.is_lost
    assert not modest.transport.is_lost
    assert talk.untouched
