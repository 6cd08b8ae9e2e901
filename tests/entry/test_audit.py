"""The audit of what a token endpoint answers (RFC 8705 §3), and the overlay of metadata, over the data plane."""

import gzip
import json
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs

import pytest

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.strict import Malformed
from sidecar.proxy.authorization_server.configuration import AuditBinding, HandOverSettings, MetadataSettings
from sidecar.telemetry.outcome import outcome_of
from tests.support.conversation import Client, Conversation, Upstream
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.token_endpoint import ENDPOINTS, ISSUER, TokenWorld, answer, form

REFUSES: dict[str, Any] = {"audit_binding": AuditBinding.REFUSE}


def response(token: str, **members: object) -> bytes:
    return json.dumps({"access_token": token, "token_type": "Bearer", **members}).encode()


def asked(talk: Conversation, pki: Pki, *answers: bytes) -> tuple[Client, Upstream]:
    client = talk.client(pki.client)
    client.says(form(client_id="tpp-1"))
    upstream = talk.upstream()
    upstream.says(*answers)
    return client, upstream


@pytest.fixture
def tokens(signing_key: SigningKey, pki: Pki) -> dict[str, str]:
    """By what the audit should say."""
    return {
        "bound": signing_key.token(pki.client),
        "unbound": signing_key.token(),
        "mismatch": signing_key.token(pki.other_client),
        "jkt": signing_key.token(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        "unknown": "opaque",
        "unreadable": signing_key.token(cnf="text"),
    }


def issued(talk: Conversation) -> str:
    notes = talk.record.client
    assert notes is not None
    return notes.issued


VERDICTS = ["bound", "unbound", "mismatch", "jkt", "unknown", "unreadable"]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_verdict_is_recorded_and_the_answer_goes_on_as_it_came(
    verdict: str, tokens: dict[str, str], world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = stack.enter_context(world.conversation())
    body = response(tokens[verdict])
    client, _ = asked(talk, pki, answer(body, b"200 OK", b"Cache-Control: no-store", b"X-Own: 1"))
    got = client.answer()
    assert (got.status, got.body, got.header("x-own")) == (200, body, "1")
    assert issued(talk) == verdict
    assert outcome_of(talk.record) == ("authorization_server.token", "permit", "none")


@pytest.mark.parametrize("verdict", VERDICTS)
def test_token_that_is_bound_to_no_key_of_the_client_is_refused_and_revoked(
    verdict: str, tokens: dict[str, str], world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = stack.enter_context(world.conversation(**REFUSES))
    client, upstream = asked(talk, pki, answer(response(tokens[verdict], refresh_token="r-1")))
    got = client.answer()
    assert issued(talk) == verdict
    if verdict in ("bound", "jkt"):
        assert got.status == 200
        assert talk.untouched
        return
    assert (got.status, got.json()["error"]) == (502, "server_error")
    assert tokens[verdict].encode() not in got.body
    assert outcome_of(talk.record)[1:] == ("fail", "issued_token_unbound")
    seen = [*upstream.requests()[1:], *talk.upstream().requests()]
    forms = [parse_qs(one.body.decode()) for one in seen]
    assert [(one["token"], one["client_id"]) for one in forms] == [
        (["r-1"], ["tpp-1"]),
        ([tokens[verdict]], ["tpp-1"]),
    ]
    for one in seen:
        assert (one.target, len(one.all("client-cert"))) == ("/revoke", 1)


def test_whether_a_token_was_revoked_is_counted(
    world: TokenWorld, stack: ExitStack, pki: Pki, tokens: dict[str, str]
) -> None:
    talk = stack.enter_context(world.conversation(**REFUSES))
    _, upstream = asked(talk, pki, answer(response(tokens["unbound"])))
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert ("token_revoked", "") in talk.observed.incidents
    _, upstream = asked(talk, pki, answer(response(tokens["unbound"])))
    upstream.says(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    assert ("token_not_revoked", "the server's answer: 503") in talk.observed.incidents
    _, upstream = asked(talk, pki, answer(response(tokens["unbound"])))
    upstream.leaves()
    assert ("token_not_revoked", "the server's answer: none") in talk.observed.incidents
    asked(talk, pki, answer(response(tokens["unbound"])))
    talk.later(61)
    assert len([name for name, _ in talk.observed.incidents if name == "token_not_revoked"]) == 3


def test_token_is_revoked_with_the_credentials_that_the_server_knows(
    world: TokenWorld, stack: ExitStack, pki: Pki, tokens: dict[str, str]
) -> None:
    world.translates("tpp-1", "client_secret_post")
    talk = stack.enter_context(world.conversation(**REFUSES))
    _, upstream = asked(talk, pki, answer(response(tokens["unbound"])))
    (_, revocation) = upstream.requests()
    assert parse_qs(revocation.body.decode())["client_secret"] == ["s+cret %&"]


def test_server_without_a_revocation_endpoint_is_not_asked(
    world: TokenWorld, stack: ExitStack, pki: Pki, tokens: dict[str, str]
) -> None:
    talk = stack.enter_context(world.conversation(endpoints=ENDPOINTS[:1], **REFUSES))
    client, upstream = asked(talk, pki, answer(response(tokens["unbound"])))
    assert client.answer().status == 502
    assert len(upstream.requests()) == 1
    assert talk.untouched


def test_what_is_wrong_with_the_hash_is_named_in_the_record(
    world: TokenWorld, stack: ExitStack, pki: Pki, signing_key: SigningKey
) -> None:
    talk = stack.enter_context(world.conversation(**REFUSES))
    of_nothing = signing_key.token(cnf={"x5t#S256": "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"})
    asked(talk, pki, answer(response(of_nothing)))
    assert "no certificate came to where it was hashed" in talk.record.detail


# --- opaque tokens


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        (None, "unknown"),
        ({"active": True}, "unbound"),
        ({"active": True, "cnf": {"x5t#S256": "CLIENT"}}, "bound"),
        ({"active": True, "cnf": {"x5t#S256": "hex"}}, "mismatch"),
        (Malformed("none"), "unreadable"),
    ],
)
def test_opaque_token_is_asked_about(
    members: Any, verdict: str, world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    if isinstance(members, dict) and "cnf" in members:
        value = members["cnf"]["x5t#S256"]
        members = {"cnf": {"x5t#S256": pki.client.thumbprint if value == "CLIENT" else value}}
    if members is not None:
        world.answers.known["opaque"] = members
    talk = stack.enter_context(world.conversation())
    client, _ = asked(talk, pki, answer(response("opaque")))
    assert client.answer().status == 200
    assert issued(talk) == verdict
    assert world.answers.asked == [("opaque", "192.0.2.7")]


def test_without_anybody_to_ask_an_opaque_token_is_unknown(
    world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    world.asks = False
    talk = stack.enter_context(world.conversation())
    asked(talk, pki, answer(response("opaque")))
    assert issued(talk) == "unknown"


# --- what is read, and what is not


def test_identity_is_asked_for_and_gzip_is_read_all_the_same(
    world: TokenWorld, stack: ExitStack, pki: Pki, tokens: dict[str, str]
) -> None:
    talk = stack.enter_context(world.conversation())
    client = talk.client(pki.client)
    client.says(form("/token", b"Accept-Encoding: br, gzip", client_id="tpp-1"))
    upstream = talk.upstream()
    (request,) = upstream.requests()
    assert request.all("accept-encoding") == ["identity"]
    body = gzip.compress(response(tokens["bound"]))
    upstream.says(answer(body, b"200 OK", b"Content-Encoding: gzip"))
    got = client.answer()
    assert (got.body, got.header("content-encoding")) == (body, "gzip")
    assert issued(talk) == "bound"


@pytest.mark.parametrize(
    "server",
    [
        answer(b"<html>", b"200 OK", b"Content-Type: text/html"),
        answer(b"not json"),
        answer(b"{}"),
        answer(b"{}", b"200 OK", b"Content-Encoding: br"),
        answer(b" " * (300 << 10)),
    ],
)
def test_answer_that_cannot_be_read_goes_on_while_it_is_only_reported(
    server: bytes, world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = stack.enter_context(world.conversation())
    client, _ = asked(talk, pki, *(server[at : at + 50_000] for at in range(0, len(server), 50_000)))
    got = client.answer()
    assert (got.status, got.body) == (200, server.partition(b"\r\n\r\n")[2])
    assert issued(talk) == "unreadable"


def test_answer_that_never_ends_is_refused_where_the_audit_refuses(
    world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = stack.enter_context(world.conversation(**REFUSES))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    client, upstream = asked(talk, pki, head, *[b" " * 50_000] * 6)
    assert client.answer().status == 502
    assert upstream.is_closed


def test_answer_in_chunks_or_to_the_end_of_the_connection_is_read_whole(
    world: TokenWorld, stack: ExitStack, pki: Pki, tokens: dict[str, str]
) -> None:
    talk = stack.enter_context(world.conversation())
    body = response(tokens["bound"])
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [b"%x\r\n%b\r\n" % (len(one), one) for one in (body[:100], body[100:])]
    client, _ = asked(talk, pki, head, *pieces, b"0\r\n\r\n")
    assert client.answer().body == body
    talk = stack.enter_context(world.conversation())
    client, upstream = asked(talk, pki, b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)
    assert client.hears() == b""
    upstream.leaves()
    assert client.answer().body == body
    assert issued(talk) == "bound"


@pytest.mark.parametrize("status", [b"400 Bad Request", b"201 Created", b"500 No"])
def test_answers_that_issue_nothing_are_not_audited(
    status: bytes, world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = stack.enter_context(world.conversation(**REFUSES))
    client, _ = asked(talk, pki, answer(b'{"error":"invalid_grant"}', status))
    assert client.answer().status == int(status[:3])
    assert issued(talk) == ""


@pytest.mark.parametrize("path", ["/par", "/introspect", "/revoke"])
def test_only_the_token_endpoint_issues_tokens(
    path: str, world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = stack.enter_context(world.conversation(**REFUSES))
    client = talk.client(pki.client)
    client.says(form(path, b"Accept-Encoding: gzip", client_id="tpp-1"))
    upstream = talk.upstream()
    assert upstream.requests()[0].all("accept-encoding") == ["gzip"]
    upstream.says(answer(response("opaque")))
    assert client.answer().status == 200
    assert issued(talk) == ""


def test_client_without_a_certificate_at_the_server_is_not_audited(
    world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = stack.enter_context(world.conversation(**REFUSES))
    client = talk.client(pki.client)
    client.says(form(client_id="old", client_secret="s"))
    talk.upstream().says(answer(response("opaque")))
    assert client.answer().status == 200
    assert issued(talk) == ""


def test_client_that_leaves_before_the_verdict_leaves_a_record(
    world: TokenWorld, stack: ExitStack, pki: Pki
) -> None:
    talk = stack.enter_context(world.conversation())
    world.answers.waits = talk.loop.create_future()
    client, _ = asked(talk, pki, answer(response("opaque")))
    client.closes()
    world.answers.waits.set_result(None)
    talk.loop.settle()
    assert talk.record.ended_by == "client"


def test_fault_of_ours_within_the_audit_is_no_pass(world: TokenWorld, stack: ExitStack, pki: Pki) -> None:
    talk = stack.enter_context(world.conversation(expected_bugs=1))
    world.answers.waits = talk.loop.create_future()
    client, _ = asked(talk, pki, answer(response("opaque")))
    world.answers.waits.set_exception(RuntimeError("ours"))
    talk.loop.settle()
    assert client.answer().status == 500


# --- metadata

OPENID = "/.well-known/openid-configuration"
DOCUMENT = {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token", "jwks_uri": f"{ISSUER}/jwks"}
OVERLAID: dict[str, Any] = {"metadata": MetadataSettings("https://mtls.as.example.com")}


def looked_up(talk: Conversation, method: str = "GET", path: str = OPENID, lines: bytes = b"") -> Client:
    client = talk.client()
    client.says(f"{method} {path} HTTP/1.1\r\nHost: mtls.as.example.com\r\n".encode() + lines + b"\r\n")
    return client


@pytest.mark.parametrize("path", [OPENID, "/.well-known/oauth-authorization-server"])
def test_metadata_is_asked_for_under_the_name_of_the_issuer_and_overlaid(
    path: str, world: TokenWorld, stack: ExitStack
) -> None:
    talk = stack.enter_context(world.conversation(**OVERLAID))
    client = looked_up(
        talk, path=path, lines=b'If-None-Match: "1"\r\nRange: bytes=0-1\r\nAccept-Encoding: br\r\n'
    )
    upstream = talk.upstream()
    (request,) = upstream.requests()
    assert (request.target, request.all("host"), request.all("x-forwarded-host")) == (
        path, ["as.example.com"], ["as.example.com"],
    )  # fmt: skip
    assert request.all("if-none-match") == request.all("range") == []
    assert request.all("accept-encoding") == ["identity"]
    upstream.says(
        answer(json.dumps(DOCUMENT).encode(), b"200 OK", b'ETag: "1"', b"Cache-Control: max-age=60")
    )
    got = client.answer()
    assert got.json()["mtls_endpoint_aliases"] == {"token_endpoint": "https://mtls.as.example.com/token"}
    assert got.json()["tls_client_certificate_bound_access_tokens"] is True
    assert (got.header("etag"), got.header("cache-control")) == (None, "max-age=60")
    assert got.header("content-length") == str(len(got.body))


def test_bound_tokens_are_not_promised_where_the_server_sees_no_certificate(
    world: TokenWorld, stack: ExitStack
) -> None:
    talk = stack.enter_context(world.conversation(hand_over=HandOverSettings(), **OVERLAID))
    client = looked_up(talk)
    talk.upstream().says(answer(json.dumps(DOCUMENT).encode()))
    assert "tls_client_certificate_bound_access_tokens" not in client.answer().json()


def test_metadata_that_is_signed_goes_on_as_it_came(world: TokenWorld, stack: ExitStack) -> None:
    talk = stack.enter_context(world.conversation(**OVERLAID))
    client, body = looked_up(talk), json.dumps({**DOCUMENT, "signed_metadata": "x"}).encode()
    talk.upstream().says(answer(body, b"200 OK", b'ETag: "1"'))
    got = client.answer()
    assert (got.body, got.header("etag")) == (body, '"1"')
    assert ("metadata_left_alone", "the metadata is signed") in talk.observed.incidents


def test_metadata_without_end_goes_on_as_it_came(world: TokenWorld, stack: ExitStack) -> None:
    talk = stack.enter_context(world.conversation(**OVERLAID))
    client, body = looked_up(talk), b" " * 300_000
    talk.upstream().says(answer(body))
    assert client.answer().body == body
    assert ("metadata_left_alone", "the metadata is too long") in talk.observed.incidents


def test_head_of_metadata_and_other_statuses_go_on(world: TokenWorld, stack: ExitStack) -> None:
    talk = stack.enter_context(world.conversation(**OVERLAID))
    client = looked_up(talk, "HEAD")
    talk.upstream().says(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n")
    assert client.answer("HEAD").status == 200
    client = looked_up(talk)
    talk.upstream().says(answer(b"{}", b"404 Not Found"))
    assert client.answer().status == 404
    assert not [name for name, _ in talk.observed.incidents if name.startswith("metadata")]


def test_metadata_is_served_by_the_rules_alone(world: TokenWorld, stack: ExitStack) -> None:
    talk = stack.enter_context(world.conversation(**OVERLAID))
    talk.gate.verdicts[OPENID] = Denial(Reason.RULE_UNMATCHED)
    assert looked_up(talk).answer().status == 403
    assert talk.untouched


def test_content_with_a_question_for_metadata_is_refused(world: TokenWorld, stack: ExitStack) -> None:
    talk = stack.enter_context(world.conversation(**OVERLAID))
    for framing in (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"):
        assert looked_up(talk, lines=framing).answer().status == 400
    assert talk.untouched


def test_without_an_overlay_metadata_is_an_ordinary_request(world: TokenWorld, stack: ExitStack) -> None:
    talk = stack.enter_context(world.conversation())
    client = looked_up(talk)
    talk.upstream().says(answer(json.dumps(DOCUMENT).encode()))
    assert client.answer().json() == DOCUMENT
