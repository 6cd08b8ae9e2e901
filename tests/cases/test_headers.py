"""Mistakes that products of this kind have made with header fields, and what this one does.

What Flask, Django and CGI make of forged identities is tested with the real ones, in `tests/e2e`.
"""

import json
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType

import pytest

from sidecar.authorizer import Authorizer
from sidecar.decision.matching import RequestMatch
from sidecar.proxy.configuration import Limits
from tests.proxy.conftest import Converse
from tests.support.conversation import LISTENER, Conversation
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.recorder import Seen
from tests.support.records import RULE, RecordedTelemetry, permit, token
from tests.support.world import Keys, authorizer, policy, rule

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
HEAD = b"GET /a HTTP/1.1\r\nHost: api\r\n"
SPELLINGS = [
    "X-Auth-Subject",
    "x-auth-subject",
    "X_Auth_Subject",
    "X-Auth_Subject",
    "X_AUTH-SUBJECT",
    "X.Auth.Subject",
    "X+Auth~Subject",
]


def alice(talk: Conversation) -> None:
    """Whoever asks for `/a` has alice's token."""
    talk.gate.verdicts["/a"] = permit(token(claims={"sub": "alice"}))


def upstream_sees(talk: Conversation, message: bytes) -> Seen | None:
    """What the upstream gets of a message; None when the message is refused."""
    client = talk.client()
    client.says(message)
    if client.hears():
        assert talk.untouched
        return None
    return talk.upstream().request()


def subjects(request: Seen | None) -> list[str]:
    """As CGI and WSGI fold names: letters, digits, and all else alike."""
    assert request is not None

    def fold(name: str) -> str:
        return "".join(char if char.isalnum() else "_" for char in name.upper())

    fields = [*request.headers, *request.trailers]
    return [value for name, value in fields if fold(name) == "X_AUTH_SUBJECT"]


@pytest.mark.parametrize("name", SPELLINGS)
def test_spelling_that_wsgi_takes_for_an_identity_header_never_arrives(talk: Conversation, name: str) -> None:
    """https://github.com/oauth2-proxy/oauth2-proxy/security/advisories/GHSA-vjrc-mh2v-45x6"""
    alice(talk)
    assert subjects(upstream_sees(talk, HEAD + f"{name}: root\r\n\r\n".encode())) == ["alice"]


def test_names_with_underscores_are_dropped_unless_told_otherwise(converse: Converse) -> None:
    default, lax = converse(), converse(keep_headers_with_underscores=True)
    message = HEAD + b"X_Tenant: acme\r\n\r\n"
    strict, loose = upstream_sees(default, message), upstream_sees(lax, message)
    assert strict is not None
    assert loose is not None
    assert (strict.all("x_tenant"), loose.all("x_tenant")) == ([], ["acme"])
    assert ("header_dropped", "") in default.observed.incidents


@pytest.mark.parametrize(
    "name", ["X-Auth-Subject", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via"]
)
def test_connection_option_removes_nothing_that_we_set(talk: Conversation, name: str) -> None:
    """https://github.com/traefik/traefik/security/advisories/GHSA-62c8-mh53-4cqv"""
    alice(talk)
    request = upstream_sees(talk, HEAD + f"Connection: close, {name}\r\n\r\n".encode())
    assert request is not None
    assert len(request.all(name)) == 1
    assert subjects(request) == ["alice"]


@pytest.mark.parametrize("name", ["Host", "Authorization", "Content-Length"])
def test_connection_option_that_names_what_the_request_is_made_of_is_400(
    talk: Conversation, name: str
) -> None:
    assert upstream_sees(talk, HEAD + f"Connection: {name}\r\n\r\n".encode()) is None
    assert talk.outcomes == [("", 400, "request_malformed")]


@pytest.fixture
def open_policy(signing_key: SigningKey) -> Authorizer:
    """`/public/**` is open, and a preflight passes everywhere."""
    rules = (
        rule("public", "/public/**", public=True),
        rule("rest", "/**", cors_preflight=True, match=RequestMatch(path="/**")),
    )
    return authorizer(policy(*rules), Keys.of(signing_key))


@pytest.mark.parametrize(
    "head",
    [
        "GET /public/x HTTP/1.1\r\nHost: api\r\n",
        "OPTIONS /a HTTP/1.1\r\nHost: api\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n",
    ],
    ids=["public", "preflight"],
)
@pytest.mark.parametrize("name", SPELLINGS)
def test_identity_headers_are_scrubbed_where_nobody_is_identified(
    converse: Converse, open_policy: Authorizer, head: str, name: str
) -> None:
    """https://github.com/traefik/traefik/issues/5061"""
    talk = converse(decides=open_policy)
    assert subjects(upstream_sees(talk, f"{head}{name}: root\r\n\r\n".encode())) == []


@pytest.mark.parametrize("name", SPELLINGS)
def test_identity_header_in_a_trailer_never_arrives(talk: Conversation, name: str) -> None:
    alice(talk)
    message = b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    assert subjects(upstream_sees(talk, message + f"{name}: root\r\n\r\n".encode())) == ["alice"]


def test_repeated_identity_header_never_arrives(talk: Conversation) -> None:
    alice(talk)
    assert subjects(upstream_sees(talk, HEAD + b"X-Auth-Subject: a\r\nX-Auth-Subject: b\r\n\r\n")) == [
        "alice"
    ]


@pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t", b"\n ", b"\r "])
def test_folded_identity_header_is_400(talk: Conversation, fold: bytes) -> None:
    alice(talk)
    assert upstream_sees(talk, HEAD + b"X-A: b" + fold + b"X-Auth-Subject: root\r\n\r\n") is None
    assert talk.record.status == 400


@pytest.mark.parametrize(
    "claim",
    [
        "a\r\nX-Admin: 1",
        "a\nX-Admin: 1",
        "a\r\n\r\nGET /admin HTTP/1.1\r\nHost: api\r\n\r\n",
        "a\x00b",
        "zoë",
        ["a\r\nX-Admin: 1", "b"],
        {"a": "\r\nX-Admin: 1"},
        {"\r\nX-Admin": 1},
        1e400,
        "\ud800",
    ],
)
def test_claim_never_ends_its_field(talk: Conversation, claim: object) -> None:
    talk.gate.verdicts["/a"] = permit(token(claims={"sub": claim}))
    client = talk.client()
    client.says(HEAD + b"\r\n")
    (request,) = talk.upstream().requests()
    (value,) = request.all("x-auth-subject")
    assert value.isascii()
    assert value.isprintable()
    assert request.all("x-admin") == []


def test_claim_of_100_kb_is_refused_and_counted(talk: Conversation) -> None:
    talk.gate.verdicts["/a"] = permit(token(claims={"sub": "x" * 100_000}))
    assert upstream_sees(talk, HEAD + b"\r\n") is None
    assert talk.record.status == 403
    assert talk.observed.incidents == [("identity_headers_large", "100018 bytes")]


def test_headers_that_may_pass_the_upstreams_own_limit_are_counted(converse: Converse) -> None:
    """https://github.com/apache/apisix/issues/11002"""
    talk = converse(limits=Limits(identity_header_bytes=1000))
    talk.gate.verdicts["/a"] = permit(token(claims={"sub": "x" * 1500}))
    assert subjects(upstream_sees(talk, HEAD + b"\r\n")) == ["x" * 1500]
    assert talk.observed.incidents == [("identity_headers_large", "1518 bytes")]


def test_headers_of_a_rule_stand_in_place_of_the_upstreams(converse: Converse) -> None:
    """And one token's headers under one rule are not taken for those under another."""
    talk = converse(rule_identity_headers=frozenset({"X-Tenant", "X-Who"}))
    known = token(claims={"sub": "alice", "tenant": "acme"})
    told = {"/a": {"X-Tenant": "tenant"}, "/b": {"X-Who": "sub"}, "/c": None}
    for path, headers in told.items():
        # Of the kind that the settings make: read-only, and without a hash.
        made = None if headers is None else MappingProxyType(headers)
        talk.gate.verdicts[path] = permit(known, rule=replace(RULE, name=path[1:], identity_headers=made))
    client, seen = talk.client(), []
    for path in ["/a", "/b", "/c", "/a"]:
        client.says(b"GET %b HTTP/1.1\r\nHost: api\r\nX-Tenant: mallory\r\n\r\n" % path.encode())
        upstream = talk.upstreams[0]
        request = upstream.request()
        assert request is not None
        seen.append([request.all(name) for name in ("x-tenant", "x-who", "x-auth-subject")])
        upstream.says(EMPTY)
    assert seen == [[["acme"], [], []], [[], ["alice"], []], [[], [], ["alice"]], [["acme"], [], []]]


def test_headers_of_a_rule_follow_a_reload(talk: Conversation) -> None:
    known, client = token(claims={"sub": "alice", "tenant": "acme"}), talk.client()
    seen = []
    for claim in ("tenant", "sub"):
        headers = MappingProxyType({"X-Who": claim})
        talk.gate.verdicts["/a"] = permit(known, rule=replace(RULE, identity_headers=headers))
        client.says(HEAD + b"\r\n")
        request = talk.upstreams[0].request()
        assert request is not None
        seen += request.all("x-who")
        talk.upstreams[0].says(EMPTY)
        talk.reload(talk.settings)
    assert seen == ["acme", "alice"]


FORWARDED = (
    b"Forwarded: for=10.0.0.1;proto=http;host=evil\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\n"
    b"X-Forwarded-Host: evil\r\nX-Forwarded-Port: 80\r\nX-Forwarded-Uri: /evil\r\nX-Real-Ip: 10.0.0.1\r\n"
    b"X-Original-Url: /evil\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Server: evil\r\n"
)


def test_nobody_is_believed_about_where_a_request_came_from(talk: Conversation) -> None:
    """https://github.com/oauth2-proxy/oauth2-proxy/issues/3506"""
    request = upstream_sees(talk, HEAD + FORWARDED + b"\r\n")
    assert request is not None
    told = [value for _, value in request.headers if "evil" in value or "10.0.0.1" in value]
    assert told == []
    assert request.all("x-forwarded-for") == ["192.0.2.7"]
    assert request.all("x-forwarded-proto") == ["https"]


def test_listed_peer_alone_is_believed(converse: Converse) -> None:
    talk = converse(listener=replace(LISTENER, forwarded_from=(ip_network("192.0.2.7/32"),)))
    request = upstream_sees(talk, HEAD + FORWARDED + b"\r\n")
    assert request is not None
    assert request.all("x-forwarded-for") == ["10.0.0.1, 192.0.2.7"]
    stranger = talk.client(peer=("192.0.2.8", 1))
    stranger.says(HEAD + FORWARDED + b"\r\n")
    request = talk.upstream().request()
    assert request is not None
    assert request.all("x-forwarded-for") == ["192.0.2.8"]


def test_token_is_never_in_a_log_and_nothing_breaks_out_of_its_line(
    converse: Converse, signing_key: SigningKey, pki: Pki, tmp_path: Path
) -> None:
    """https://github.com/envoyproxy/envoy/security/advisories/GHSA-p222-xhp9-39rc"""
    secret = signing_key.token(pki.client)
    talk = converse(decides=authorizer(policy(), Keys.of(signing_key)))
    talk.wall = time.time()
    lines = [
        f"GET /a?token={secret} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {secret}\r\n\r\n",
        f'GET /%0a%7b"x":1}} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {secret}x\r\n\r\n',
        f"GET /a\u2028b HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {secret}\r\n\r\n",
        f'GET /{secret} HTTP/1.1\r\nHost: api{{"\\\r\n\r\n',
        f"{secret} / HTTP/1.1\r\nHost: api\r\n\r\n",
    ]
    for line in lines:
        client = talk.client(pki.other_client)
        client.says(line.encode())
        assert secret.encode() not in client.hears()
    recorder = RecordedTelemetry(tmp_path)
    for record in talk.observed.records:
        recorder.telemetry.observe(record)
    written = recorder.text().splitlines()
    assert len(written) == len(lines)
    assert all(json.loads(line)["status"] in {400, 401} for line in written)
    signature = secret.rpartition(".")[2]
    assert not [line for line in written if signature in line]
