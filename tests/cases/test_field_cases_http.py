"""HTTP as APIs and clients in the field speak it: redirects, pooled connections that end, methods, verbs in paths."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from sidecar.decision.denial import Reason
from sidecar.http.message import METHODS
from sidecar.proxy.configuration import UpstreamSettings
from tests.proxy.conftest import Converse
from tests.support.configuration import ISSUER, Configuration
from tests.support.conversation import LISTENER, UPSTREAM, Conversation
from tests.support.pki import Pki
from tests.support.world import head

LOCAL = replace(UPSTREAM, host="127.0.0.1", port=8080)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 1\r\n\r\nx"


def redirected(
    talk: Conversation, fields: bytes, request: bytes = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
) -> bytes:
    """The fields of a redirect as the client gets them."""
    client = talk.client()
    client.says(request)
    talk.upstream().says(b"HTTP/1.1 301 Moved\r\n" + fields + b"Content-Length: 0\r\n\r\n")
    return client.hears().partition(b"\r\n")[2].partition(b"Content-Length")[0]


# --- redirects


@pytest.mark.parametrize("name", [b"Location", b"Content-Location", b"location"])
def test_redirect_to_the_apis_own_address_leads_to_what_the_client_called(
    converse: Converse, name: bytes
) -> None:
    talk = converse(upstream=LOCAL)
    sent = b"X-A: 1\r\n" + name + b": http://localhost:8080/docs/?a#b\r\nX-B: 2\r\n"
    assert redirected(talk, sent) == b"X-A: 1\r\n" + name + b": https://api/docs/?a#b\r\nX-B: 2\r\n"


def test_redirect_with_the_clients_host_in_cleartext_goes_back_to_tls(talk: Conversation) -> None:
    request = b"GET /a HTTP/1.1\r\nHost: api.example.com:8443\r\n\r\n"
    seen = redirected(talk, b"Location: http://api.example.com:8443/docs/\r\n", request)
    assert seen == b"Location: https://api.example.com:8443/docs/\r\n"


@pytest.mark.parametrize(
    "location", [b"/docs/", b"https://idp.example/a", b"http://127.0.0.1:9999/", b"http://x"]
)
def test_any_other_redirect_is_the_apis(converse: Converse, location: bytes) -> None:
    sent = b"Location: " + location + b"\r\n"
    assert redirected(converse(upstream=LOCAL), sent) == sent


def test_redirects_pass_where_the_settings_say_so(converse: Converse) -> None:
    sent = b"Location: http://localhost:8080/docs/\r\n"
    assert redirected(converse(upstream=replace(LOCAL, rewrites_redirects=False)), sent) == sent


def test_behind_a_listed_proxy_the_client_called_what_that_proxy_says(converse: Converse) -> None:
    request = b"GET /a HTTP/1.1\r\nHost: inner\r\nX-Forwarded-Host: public.example\r\nX-Forwarded-Proto: https\r\n\r\n"
    sent = b"Location: http://localhost:8080/docs/\r\n"
    believing = replace(LISTENER, forwarded_from=(ip_network("192.0.2.0/24"),))
    assert redirected(converse(upstream=LOCAL, listener=believing), sent, request) == (
        b"Location: https://public.example/docs/\r\n"
    )
    assert redirected(converse(upstream=LOCAL), sent, request) == b"Location: https://inner/docs/\r\n"


# --- pooled connections that the API ends


def test_unused_connection_is_given_up_before_node_closes_it(talk: Conversation) -> None:
    assert UpstreamSettings("http", "api", 80).idle_timeout < 5
    client = talk.client()
    client.says(POST)
    first = talk.upstream()
    first.says(OK)
    talk.later(4.5)
    client.says(POST)
    second = talk.upstream()
    assert second.hears()
    second.says(OK)
    assert client.statuses() == [200, 200]
    assert first.is_closed


@pytest.mark.parametrize(
    ("hint", "pause", "is_reused"),
    [
        (b"timeout=3", 1.5, True),
        (b"timeout=3", 2.1, False),
        (b"max=100, timeout=3", 2.1, False),
        (b'Timeout = "3"', 2.1, False),
        (b"timeout=1", 0.0, False),
        (b"timeout=0", 0.0, False),
        (b"timeout=600", 3.0, True),
        (b"timeout=600", 4.5, False),
        (b"timeout=-1", 3.0, True),
        (b"timeout=x", 3.0, True),
        (b"max=5", 3.0, True),
    ],
)
def test_hint_of_the_api_is_honoured_with_a_second_to_spare(
    talk: Conversation, hint: bytes, pause: float, is_reused: object
) -> None:
    client = talk.client()
    client.says(POST)
    first = talk.upstream()
    assert first.hears()
    first.says(b"HTTP/1.1 200 OK\r\nKeep-Alive: " + hint + b"\r\nContent-Length: 0\r\n\r\n")
    talk.later(pause)
    client.says(POST)
    assert talk.untouched is bool(is_reused)
    (first if is_reused else talk.upstream()).says(OK)
    assert client.statuses() == [200, 200]


def test_connection_whose_time_is_over_gets_no_request_even_before_it_is_swept(talk: Conversation) -> None:
    client = talk.client()
    client.says(POST)
    first = talk.upstream()
    assert first.hears()
    first.says(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 0\r\n\r\n")
    talk.later(1.01)
    client.says(POST)
    assert first.hears() == b""
    talk.upstream().says(OK)
    assert client.statuses() == [200, 200]


# --- methods and targets


@pytest.fixture
def configuration(tmp_path: Path, pki: Pki) -> Configuration:
    return Configuration.create(tmp_path, pki)


@pytest.mark.parametrize("method", ["LIST", "VERSION-CONTROL", "TRACE", "CONNECT", "GETS"])
def test_method_that_no_request_can_have_is_refused_by_check(
    configuration: Configuration, method: str
) -> None:
    configuration.write_rule(f"match: {{methods: [{method}], path: /v1/secret}}")
    (said,) = configuration.said()
    assert f"no request with the method `{method}` is ever forwarded" in said


def test_every_method_that_check_accepts_is_let_through(talk: Conversation) -> None:
    for method in sorted(METHODS):
        client = talk.client()
        client.says(f"{method} /a HTTP/1.1\r\nHost: api\r\n\r\n".encode())
        upstream = talk.upstream()
        assert upstream.hears().startswith(f"{method} /a HTTP/1.1\r\n".encode())
        upstream.says(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        assert client.answer(method).status == 204


@pytest.mark.parametrize("target", ["/é", "/a/日本?x", "/a?ü"])
def test_text_that_is_not_escaped_is_an_ambiguity_with_a_name(talk: Conversation, target: str) -> None:
    client = talk.client()
    client.says(f"GET {target} HTTP/1.1\r\nHost: api\r\n\r\n".encode())
    assert client.answer().status == 400
    assert talk.record.reason is Reason.PATH_AMBIGUOUS
    assert talk.record.detail.startswith("unescaped_text: ")


@pytest.mark.parametrize(
    "host",
    ["a.internal,b.example", "a.internal, b.example", "b.example,a.internal", "b.example,", "b.example;x"],
)
def test_list_of_hosts_is_no_host(talk: Conversation, host: str) -> None:
    client = talk.client()
    client.says(f"GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert client.answer().status == 400
    assert talk.record.reason is Reason.REQUEST_MALFORMED
    assert talk.untouched


@pytest.mark.parametrize(("ignores", "rule"), [(False, "rest"), (True, "admin")])
@pytest.mark.parametrize("target", ["/ADMIN/x", "/Admin/x"])
def test_path_in_another_case_is_the_narrow_rules_where_it_says_so(
    configuration: Configuration, target: str, rule: str, *, ignores: bool
) -> None:
    configuration.write_policy(
        ISSUER
        + "rules:\n  - {name: admin, match: {path: /admin/**, ignore_case: IGNORES}, require: {scopes: [admin]}}\n"
        "  - {name: rest, match: {path: /**}}\n".replace("IGNORES", str(ignores).lower())
    )
    policy = configuration.load().policy
    found = policy.matcher.first(head(target=target))
    assert found is not None
    assert policy.rules[found[0]].name == rule


# --- trailers, and what is wrong with an answer


@pytest.mark.parametrize("value", [b"trailers", b"gzip;q=0.5, Trailers", b"trailers, deflate"])
def test_a_client_that_reads_trailers_says_so_to_the_api(talk: Conversation, value: bytes) -> None:
    client = talk.client()
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\nTE: " + value + b"\r\nConnection: TE\r\n\r\n")
    upstream = talk.upstream()
    assert upstream.hears() == b"GET /a HTTP/1.1\r\nHost: api\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
    upstream.says(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nGrpc-Status: 0\r\n\r\n"
    )
    assert client.hears().endswith(b"\r\n1\r\nx\r\n0\r\nGrpc-Status: 0\r\n\r\n")


def test_no_other_coding_and_no_trailers_of_http_1_0_are_asked_for(talk: Conversation) -> None:
    for asked in (
        b"GET /a HTTP/1.1\r\nHost: api\r\nTE: gzip\r\n",
        b"GET /a HTTP/1.0\r\nHost: api\r\nTE: trailers\r\n",
    ):
        talk.client().says(asked + b"\r\n")
        upstream = talk.upstream()
        assert upstream.hears() == b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
        upstream.says(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (b"X-A: 1\r\nX Bad: 2\r\n", "in the field 'X Bad'"),
        (b"X-A: 1\r\nX-Control: a\x01b\r\nX-B: 2\r\n", "in the field 'X-Control'"),
        (b"X-A: 1\r\nX-Folded: a\r\n b\r\n", "in the field 'X-Folded', which is folded"),
        (b"X-A: 1\r\nno colon\r\n", "in the field 'no colon'"),
        (b"\xc3\xa9" + b"x" * 90 + b": 1\r\n", "in the field '\\xc3\\xa9" + "x" * 62 + "'"),
        (b"Content-Length: 1\r\nContent-Length: 1\r\n", "Content-Length"),
        (b"Transfer-Encoding: gzip\r\n", "Transfer-Encoding"),
    ],
)
def test_answer_that_cannot_be_read_is_told_by_its_field(
    talk: Conversation, fields: bytes, named: str
) -> None:
    client = talk.client()
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n")
    talk.upstream().says(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
    assert client.answer().status == 502
    assert talk.record.reason is Reason.UPSTREAM_BROKEN
    assert named in talk.record.detail


def test_verb_behind_a_captured_id_has_a_rule_of_its_own(configuration: Configuration) -> None:
    configuration.write_policy(
        ISSUER
        + """\
rules:
  - {name: suspend, match: {methods: [POST], path: "/users/{id}:suspend"}}
  - {name: report, match: {path: "/reports/{name}.json"}}
"""
    )
    rules, matcher = configuration.load().policy.rules, configuration.load().policy.matcher
    for method, target, name, captured in (
        ("POST", "/users/7:suspend", "suspend", {"id": "7"}),
        ("GET", "/reports/2026.json", "report", {"name": "2026"}),
    ):
        found = matcher.first(head(None, method, target))
        assert found is not None
        assert (rules[found[0]].name, found[1]) == (name, captured)
    assert matcher.first(head(None, "POST", "/users/7")) is None
