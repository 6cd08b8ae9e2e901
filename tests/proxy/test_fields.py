"""Header fields on their way through: what is taken out, what is set, what is left alone."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from sidecar.http.fields import FieldRules
from sidecar.http.lines import field_lines
from sidecar.http.response_fields import ResponseNames, sort_response
from tests.proxy.conftest import Converse
from tests.support.conversation import LISTENER, UPSTREAM, Conversation
from tests.support.recorder import Seen
from tests.support.records import permit, token

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def forwarded(talk: Conversation, fields: bytes, head: bytes = b"GET /a HTTP/1.1\r\nHost: api\r\n") -> Seen:
    """The request that the upstream sees."""
    client = talk.client()
    client.says(head + fields + b"\r\n")
    request = talk.upstream().request()
    assert request is not None
    return request


def test_fields_keep_their_order_case_and_repetition(talk: Conversation) -> None:
    client = talk.client()
    fields = (
        b"x-b: 2\r\nX-A: 1\r\nAccept: */*\r\nx-b: 3\r\nCookie: a=b\r\nX-Empty: \r\nX-High: \xc3\xa9\xff\r\n"
    )
    client.says(b"GET /a HTTP/1.1\r\nhost: API:8443\r\n" + fields + b"\r\n")
    assert talk.upstream().hears() == b"GET /a HTTP/1.1\r\nHost: API:8443\r\n" + fields + b"\r\n"


@pytest.mark.parametrize(
    "field",
    [
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic x",
        b"TE: gzip",
        b"Authorization: Bearer x",
        b"DPoP: x",
        b"Client-Cert: :x:",
        b"X-Forwarded-Client-Cert: x",
        b"X-Original-URL: /admin",
        b"X-Rewrite-URL: /admin",
        b"X-Real-IP: 10.0.0.1",
        b"X-Forwarded-Uri: /admin",
        b"X_Anything: 1",
    ],
)
def test_field_stays_behind(talk: Conversation, field: bytes) -> None:
    name = field.partition(b":")[0].decode()
    assert forwarded(talk, field + b"\r\n").all(name) == []


@pytest.mark.parametrize(
    "name",
    [
        "X-Auth-Subject",
        "x-auth-subject",
        "X_Auth_Subject",
        "X-Auth_Subject",
        "x.auth.subject",
        "X!Auth~Subject",
    ],
)
@pytest.mark.parametrize("keep", [False, True], ids=["default", "underscores kept"])
def test_every_spelling_of_an_identity_header_is_dropped(converse: Converse, name: str, keep: bool) -> None:
    talk = converse(keep_headers_with_underscores=keep)
    talk.gate.verdicts["/a"] = permit(token(claims={"sub": "alice"}))
    request = forwarded(talk, f"{name}: root\r\n".encode())
    assert [pair for pair in request.headers if "subject" in pair[0].lower()] == [("X-Auth-Subject", "alice")]
    assert ("header_dropped", "") in talk.observed.incidents


def test_identity_header_is_dropped_where_there_is_no_identity(talk: Conversation) -> None:
    talk.gate.verdicts["/a"] = permit(token())
    assert forwarded(talk, b"X-Auth-Subject: root\r\n").all("x-auth-subject") == []


def test_names_with_underscores_pass_when_told_so_but_those_we_read(converse: Converse) -> None:
    talk = converse(keep_headers_with_underscores=True)
    request = forwarded(
        talk,
        b"X_One: 1\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\nX_Forwarded_For: 1\r\nvia_: x\r\n",
    )
    assert [name for name, _ in request.headers if "_" in name] == ["X_One", "via_"]


@pytest.mark.parametrize("name", ["X.Forwarded.For", "Content_Length", "transfer.encoding"])
def test_name_that_a_gateway_takes_for_one_we_read_is_dropped(talk: Conversation, name: str) -> None:
    assert forwarded(talk, f"{name}: 1\r\n".encode()).all(name) == []


@pytest.mark.parametrize("name", ["Host", "Authorization", "Content-Length", "Transfer-Encoding"])
def test_connection_that_names_what_is_end_to_end_is_400(talk: Conversation, name: str) -> None:
    client = talk.client()
    client.says(f"GET /a HTTP/1.1\r\nHost: api\r\nConnection: close, {name}\r\n\r\n".encode())
    assert client.statuses() == [400]
    assert talk.untouched


@pytest.mark.parametrize(
    "name",
    [
        "X-Auth-Subject",
        "x-auth-subject",
        "X-Forwarded-For",
        "Forwarded",
        "Via",
        "traceparent",
        "X-Request-Id",
    ],
)
def test_connection_cannot_remove_what_we_set(talk: Conversation, name: str) -> None:
    talk.gate.verdicts["/a"] = permit(token(claims={"sub": "alice"}))
    request = forwarded(talk, f"Connection: {name}\r\nX-Request-Id: mine\r\n".encode())
    assert len(request.all(name)) == 1
    assert request.all("connection") == []


def test_fields_that_connection_names_stay_behind(talk: Conversation) -> None:
    request = forwarded(talk, b"Connection: X-One , x-two\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\n")
    assert [name for name, _ in request.headers if name in {"X-One", "X-Two", "X-Three"}] == ["X-Three"]


def test_token_goes_on_when_told_so(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, forward_token=True))
    assert forwarded(talk, b"Authorization: Bearer abc\r\n").all("authorization") == ["Bearer abc"]


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("alice", "alice"),
        ("a b", "a b"),
        ("zoë", "UTF-8''zo%C3%AB"),
        ("a\r\nX-Evil: 1", "UTF-8''a%0D%0AX-Evil%3A%201"),
        ("a\x00b", "UTF-8''a%00b"),
        (" padded ", "UTF-8''%20padded%20"),
        ("UTF-8''x", "UTF-8''UTF-8%27%27x"),
        (["a", "b"], "a b"),
        (["a b", "c"], '["a b","c"]'),
        (["a\r\nb"], '["a\\r\\nb"]'),
        ({"k": "é\n"}, '{"k":"\\u00e9\\n"}'),
        (7, "7"),
        (True, "true"),
    ],
)
def test_claim_is_encoded_so_that_it_cannot_end_its_field(
    talk: Conversation, claim: object, value: str
) -> None:
    talk.gate.verdicts["/a"] = permit(token(claims={"sub": claim}))
    request = forwarded(talk, b"")
    assert request.all("x-auth-subject") == [value]
    assert request.all("x-evil") == []


@pytest.mark.parametrize("claim", [None, ""])
def test_claim_that_says_nothing_has_no_header(talk: Conversation, claim: object) -> None:
    talk.gate.verdicts["/a"] = permit(token(claims={"sub": claim}))
    assert forwarded(talk, b"").all("x-auth-subject") == []


# --- where a request came from (RFC 7239, RFC 9110 §7.6.3)


def origin(request: Seen) -> dict[str, list[str]]:
    names = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via"]
    return {name: request.all(name) for name in names}


OURS = {
    "X-Forwarded-For": ["192.0.2.7"],
    "X-Forwarded-Proto": ["https"],
    "X-Forwarded-Host": ["api"],
    "Forwarded": ['for=192.0.2.7;host="api";proto=https'],
    "Via": ["1.1 sidecar"],
}
TOLD = (
    b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil\r\n"
    b'Forwarded: for=10.0.0.1;host="evil"\r\nX-Forwarded-For: 10.0.0.2\r\n'
)


def test_upstream_is_told_where_a_request_came_from(talk: Conversation) -> None:
    assert origin(forwarded(talk, b"")) == OURS


def test_what_a_client_says_of_itself_is_not_believed(talk: Conversation) -> None:
    assert origin(forwarded(talk, TOLD)) == OURS


def test_listed_peer_is_believed(converse: Converse) -> None:
    talk = converse(listener=replace(LISTENER, forwarded_from=(ip_network("192.0.2.0/24"),)))
    assert origin(forwarded(talk, TOLD)) == {
        "X-Forwarded-For": ["10.0.0.1, 10.0.0.2, 192.0.2.7"],
        "X-Forwarded-Proto": ["http"],
        "X-Forwarded-Host": ["evil"],
        "Forwarded": ['for=10.0.0.1;host="evil", for=192.0.2.7;host="api";proto=https'],
        "Via": ["1.1 sidecar"],
    }
    stranger = talk.client(peer=("198.51.100.1", 4000))
    stranger.says(b"GET /a HTTP/1.1\r\nHost: api\r\n" + TOLD + b"\r\n")
    request = talk.upstream().request()
    assert request is not None
    assert request.all("x-forwarded-for") == ["198.51.100.1"]


def test_via_names_everyone_on_the_way(talk: Conversation) -> None:
    assert forwarded(talk, b"Via: 1.0 fred, 1.1 p.example\r\n").all("via") == [
        "1.0 fred, 1.1 p.example, 1.1 sidecar"
    ]


def test_ipv6_client_is_written_as_the_rfc_says(talk: Conversation) -> None:
    client = talk.client(peer=("2001:db8::1", 4000))
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n")
    request = talk.upstream().request()
    assert request is not None
    assert request.all("forwarded") == ['for="[2001:db8::1]";host="api";proto=https']
    assert request.all("x-forwarded-for") == ["2001:db8::1"]


def test_ipv4_client_on_an_ipv6_socket_is_an_ipv4_client(talk: Conversation) -> None:
    client = talk.client(peer=("::ffff:192.0.2.7", 4000))
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n")
    request = talk.upstream().request()
    assert request is not None
    assert origin(request) == OURS


def test_request_is_told_apart_by_an_id_of_ours_or_the_clients(talk: Conversation) -> None:
    request = forwarded(talk, b"")
    talk.upstreams[0].says(EMPTY)
    assert request.all("x-request-id") == [talk.record.request_id]
    client = talk.client()
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\nX-Request-Id: mine\r\n\r\n")
    again = talk.upstreams[0].request()
    assert again is not None
    assert again.all("x-request-id") == ["mine"]


def test_trace_is_continued_or_begun(talk: Conversation) -> None:
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert forwarded(talk, f"traceparent: {given}\r\n".encode()).all("traceparent") == [given]
    (begun,) = forwarded(talk, b"traceparent: nonsense\r\n").all("traceparent")
    assert begun != "nonsense"
    assert len(begun) == 55
    (fresh,) = forwarded(talk, f"traceparent: {given}\r\ntraceparent: {given}\r\n".encode()).all(
        "traceparent"
    )
    assert fresh != given


# --- responses


def test_response_fields_of_one_hop_stay_behind(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n")
    talk.upstream().says(
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: x\r\n"
        b"DPoP-Nonce: theirs\r\n"
        b"Proxy-Connection: x\r\nUpgrade: h2c\r\nX-Hop: 1\r\nX-End: 2\r\nWWW-Authenticate: Basic\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert (
        client.hears()
        == b"HTTP/1.1 200 OK\r\nX-End: 2\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    )


def test_response_with_a_nonce_has_one_and_is_not_to_be_stored() -> None:
    """RFC 9449 §8.2; the API can name no field in Connection to take it out."""
    theirs = [(b"dpop-nonce", b"theirs"), (b"Connection", b"DPoP-Nonce, Cache-Control"), (b"X-End", b"2")]
    assert field_lines(sort_response(theirs, ResponseNames(), "ours").kept) == (
        b"X-End: 2\r\nDPoP-Nonce: ours\r\nCache-Control: no-store\r\n"
    )
    assert field_lines(sort_response(theirs, ResponseNames()).kept) == b"X-End: 2\r\n"


def test_response_to_a_client_of_http2_has_names_in_lower_case_and_bare_values() -> None:
    """RFC 9113 §8.2.1; a pair that is so already is passed on itself."""
    plain = (b"etag", b"1")
    theirs = [
        (b"X-One", b"a"),
        (b"x-two", b"b \t"),
        (b"X-Three", b" c"),
        (b"Location", b"/ "),
        (b"X-Four", b""),
        plain,
    ]
    seen = ResponseNames()
    for _ in range(2):  # the second time, the names are known
        made = sort_response([*theirs, (b"Keep-Alive", b"x")], seen, "ours", lowers=True)
        assert made.kept == [
            (b"x-one", b"a"), (b"x-two", b"b"), (b"x-three", b"c"), (b"location", b"/"), (b"x-four", b""), plain,
            (b"dpop-nonce", b"ours"), (b"cache-control", b"no-store"),
        ]  # fmt: skip
        assert made.kept[5] is plain
        assert made.is_located
    assert sort_response(theirs, seen).kept == theirs


def test_response_is_sorted_by_its_own_names_whatever_stood_at_their_places_before() -> None:
    names = ResponseNames()
    first = [(b"X-A", b"1"), (b"Connection", b"close"), (b"Location", b"/"), (b"X-B", b"2")]
    other = [
        (b"Connection", b"X-C"),
        (b"X-A", b"1"),
        (b"X-C", b"3"),
        (b"Content-Length", b"0"),
        (b"Date", b"then"),
    ]
    for _ in range(2):
        made = sort_response(first, names, lowers=True)
        assert made.kept == [(b"x-a", b"1"), (b"location", b"/"), (b"x-b", b"2")]
        assert (made.is_located, made.has_length, made.has_date) == (True, False, False)
        made = sort_response(other, names)
        assert made.kept == [(b"X-A", b"1"), (b"Content-Length", b"0"), (b"Date", b"then")]
        assert (made.is_located, made.has_length, made.has_date) == (False, True, True)
        assert sort_response(other[1:], names).kept == other[1:]
    many = [(b"X-%d" % number, b"") for number in range(100)]
    assert sort_response(many, names).kept == many
    assert sort_response(many[1:], names).kept == many[1:]


def test_names_of_responses_are_known_however_many_came_before() -> None:
    """The number that is kept is bounded; one response of many names does not keep out all later ones."""
    names = ResponseNames()
    for at in range(50):
        sort_response([(b"X-%d-%d" % (at, number), b"") for number in range(100)], names)
        assert len(names.seen) <= 2048
    sort_response([(b"X-Later", b"")], names)
    assert b"X-Later" in names.seen


def test_response_without_date_gets_one(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n" * 2)
    upstream = talk.upstream()
    upstream.says(EMPTY)
    assert client.answer().header("date") is not None
    upstream.says(b"HTTP/1.1 200 OK\r\ndate: then\r\nContent-Length: 0\r\n\r\n")
    assert client.answer().header("date") == "then"


def test_long_names_are_told_apart_and_not_remembered() -> None:
    rules = FieldRules(["X-Auth-Subject"])
    seen = ResponseNames()
    for number in range(20):
        name = b"X%d" % number + b"a" * 10_000
        assert rules.kind(name) == rules.kind(b"X-Plain")
        assert rules.kind(name + b"_") == rules.kind(b"X_Plain")
        assert sort_response([(name, b"1")], seen).kept == [(name, b"1")]
    assert set(rules.seen) == {b"X-Plain", b"X_Plain"}
    assert seen.seen == {}


def test_one_who_sends_many_names_does_not_make_the_others_strangers_for_good() -> None:
    rules = FieldRules([])
    for number in range(5000):
        rules.kind(b"X-Made-Up-%d" % number)
    rules.kind(b"X-Honest")
    assert b"X-Honest" in rules.seen
    assert len(rules.seen) <= 2048


PREFLIGHT = b"Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n"
OPTIONS = b"OPTIONS /a HTTP/1.1\r\nHost: api\r\n"


@pytest.mark.parametrize(
    ("fields", "is_preflight"),
    [
        (b"", True),
        (b"Content-Length: 0\r\n", True),
        (b"Connection: close, x\r\n", True),
        (b"Connection: origin\r\n", False),
        (b"Connection: close, Access-Control-Request-Method\r\n", False),
        (b"Content-Length: 2\r\n\r\n{}", False),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\n", False),
    ],
)
def test_preflight_is_what_the_api_gets_as_one(talk: Conversation, fields: bytes, is_preflight: bool) -> None:
    client = talk.client()
    client.says(OPTIONS + PREFLIGHT + fields + b"\r\n")
    (head,) = talk.gate.asked
    assert head.preflight is is_preflight


# --- headers that claim an identity ---------------------------------------------------------------


CLAIMS = [
    "X-ARR-ClientCert", "X-SSL-Client-Verify", "x-ssl-client-s-dn", "X-Amzn-Mtls-Clientcert-Serial-Number",
    "X-Amzn-Mtls-Clientcert", "X-Forwarded-Tls-Client-Cert-Info", "Remote-User", "X-Forwarded-User",
    "X-Forwarded-Email", "X-Forwarded-Groups", "X-Original-URL", "X-Original-Method", "X-Rewrite-URL",
    "X-Auth-Request-User", "X-MS-CLIENT-PRINCIPAL-NAME",
]  # fmt: skip


@pytest.mark.parametrize("name", CLAIMS)
def test_header_that_claims_an_identity_is_passed_on_from_listed_peers_only(
    converse: Converse, name: str
) -> None:
    talk = converse()
    assert forwarded(talk, f"{name}: root\r\n".encode()).all(name) == []
    assert ("header_stripped", name) in talk.observed.incidents
    behind = converse(listener=replace(LISTENER, forwarded_from=(ip_network("192.0.2.0/24"),)))
    assert forwarded(behind, f"{name}: root\r\n{name}: 2\r\n".encode()).all(name) == ["root", "2"]
    assert behind.observed.incidents == []


@pytest.mark.parametrize("name", ["X_Forwarded_User", "X.Remote.User", "REMOTE_USER", "X-Ssl_Client-Cert"])
def test_other_spelling_of_such_a_header_is_passed_on_from_nobody(converse: Converse, name: str) -> None:
    listener = replace(LISTENER, forwarded_from=(ip_network("192.0.2.0/24"),))
    talk = converse(listener=listener, keep_headers_with_underscores=True)
    request = forwarded(talk, f"{name}: root\r\n".encode())
    assert "root" not in [value for _, value in request.headers]


def test_more_names_can_be_stripped_and_some_kept(converse: Converse) -> None:
    talk = converse(
        strip_headers=frozenset({"X-Employee"}),
        keep_headers=frozenset({"X-Forwarded-User", "X-Original-Host"}),
    )
    request = forwarded(
        talk,
        b"X-EMPLOYEE: 7\r\nX-Forwarded-User: a\r\nX-Original-Host: b\r\nX-Original-URL: c\r\nX-Plain: d\r\n",
    )
    names = ["x-employee", "x-forwarded-user", "x-original-host", "x-original-url", "x-plain"]
    assert [request.all(name) for name in names] == [[], ["a"], ["b"], [], ["d"]]


def test_claim_of_a_listed_peer_that_connection_names_stays_behind(converse: Converse) -> None:
    talk = converse(listener=replace(LISTENER, forwarded_from=(ip_network("192.0.2.0/24"),)))
    request = forwarded(talk, b"Connection: x-remote-user\r\nX-Remote-User: a\r\nRemote-User: b\r\n")
    assert (request.all("x-remote-user"), request.all("remote-user")) == ([], ["b"])


def test_identity_header_of_ours_is_taken_from_no_listed_peer(converse: Converse) -> None:
    talk = converse(
        listener=replace(LISTENER, forwarded_from=(ip_network("192.0.2.0/24"),)),
        upstream=replace(UPSTREAM, identity_headers={"X-Remote-User": "sub"}),
    )
    talk.gate.verdicts["/a"] = permit(token(claims={"sub": "alice"}))
    assert forwarded(talk, b"X-Remote-User: root\r\n").all("x-remote-user") == ["alice"]


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "x-http-method", "X_Method_Override"])
def test_method_override_is_400_where_rules_name_methods(converse: Converse, name: str) -> None:
    talk = converse(refuse_method_overrides=True)
    client = talk.client()
    client.says(f"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n{name}: DELETE\r\n\r\n".encode())
    assert client.statuses() == [400]
    assert talk.untouched
    assert talk.gate.asked == []


def test_method_override_passes_where_they_do_not_or_where_it_is_kept(converse: Converse) -> None:
    field = b"X-HTTP-Method-Override: DELETE\r\n"
    assert forwarded(converse(), field).all("x-http-method-override") == ["DELETE"]
    kept = converse(refuse_method_overrides=True, keep_headers=frozenset({"X-HTTP-Method-Override"}))
    assert forwarded(kept, field).all("x-http-method-override") == ["DELETE"]
