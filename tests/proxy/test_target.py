"""The request target and Host: what is understood, what is refused, and that what was matched is what is forwarded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.denial import Reason
from sidecar.http.message import Fault
from sidecar.http.target import _KNOWN_HOSTS, Target, matching_host, parse
from tests.support.conversation import Conversation

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def forwarded(talk: Conversation, message: bytes) -> str:
    """The request line that the upstream gets."""
    client = talk.client()
    client.says(message)
    return talk.upstream().hears().partition(b"\r\n")[0].decode()


@pytest.mark.parametrize(
    ("line", "onward", "path", "query"),
    [
        ("GET /a/b?c=d?e", "GET /a/b?c=d?e", "/a/b", "c=d?e"),
        ("GET /?", "GET /?", "/", ""),
        ("GET /%7Ea/%2e", "GET /%7Ea/%2e", "/%7Ea/%2e", ""),
        ("OPTIONS *", "OPTIONS *", "*", ""),
        ("GET http://api/a?b", "GET /a?b", "/a", "b"),
        ("GET HTTPS://API/a", "GET /a", "/a", ""),
        ("GET http://api", "GET /", "/", ""),
        ("GET http://api?b", "GET /?b", "/", "b"),
        ("OPTIONS http://api", "OPTIONS *", "*", ""),
        ("PROPFIND /dav", "PROPFIND /dav", "/dav", ""),
    ],
)
def test_target_is_taken_apart_and_goes_on_as_it_is(
    talk: Conversation, line: str, onward: str, path: str, query: str
) -> None:
    assert forwarded(talk, f"{line} HTTP/1.1\r\nHost: api\r\n\r\n".encode()) == f"{onward} HTTP/1.1"
    (head,) = talk.gate.asked
    assert (head.path, head.query, head.target) == (path, query, onward.partition(" ")[2])


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        ("TRACE / HTTP/1.1\r\nHost: api", 501),
        ("CONNECT api:443 HTTP/1.1\r\nHost: api:443", 501),
        ("GET * HTTP/1.1\r\nHost: api", 400),
        ("GET a HTTP/1.1\r\nHost: api", 400),
        ("GET api:443 HTTP/1.1\r\nHost: api", 400),
        ("GET ftp://api/a HTTP/1.1\r\nHost: api", 400),
        ("GET http://other/a HTTP/1.1\r\nHost: api", 400),
        ("GET http://u@api/a HTTP/1.1\r\nHost: api", 400),
        ("GET http://u@api/a HTTP/1.1\r\nHost: u@api", 400),
        ("GET http:///a HTTP/1.1\r\nHost: api", 400),
        ("GET /a#b HTTP/1.1\r\nHost: api", 400),
        ("GET /a HTTP/1.1", 400),
        ("GET /a HTTP/1.1\r\nHost: api\r\nHost: api", 400),
        ("GET /a HTTP/1.1\r\nHost: api, other", 400),
        ("GET /a HTTP/1.1\r\nHost: api/x", 400),
        ("GET /a HTTP/1.1\r\nHost: a b", 400),
        ("GET /a HTTP/1.1\r\nHost: api:x", 400),
        ("GET /a HTTP/1.1\r\nHost: [::1", 400),
        ("GET /a HTTP/1.1\r\nHost: u@api", 400),
        ('GET /a HTTP/1.1\r\nHost: "api"', 400),
        ("GET /a HTTP/1.1\r\nHost: admin.internal,a.bank.example", 400),
        ("GET /a HTTP/1.1\r\nHost: admin.internal;a.bank.example", 400),
        ("GET /a HTTP/1.1\r\nHost: admin.internal%2ca.bank.example", 400),
        ("GET /a HTTP/1.1\r\nHost: admin.internal'a.bank.example", 400),
        ("GET /a HTTP/1.1\r\nHost: *.bank.example", 400),
        ("GET /a HTTP/1.1\r\nHost: ~.bank.example", 400),
        ("GET /a HTTP/1.1\r\nHost: .bank.example", 400),
        ("GET /a HTTP/1.1\r\nHost: a..bank.example", 400),
        ("GET /a HTTP/1.1\r\nHost: .", 400),
        ("GET /a HTTP/1.1\r\nHost: :443", 400),
        ("GET /a HTTP/1.1\r\nHost: api:80:90", 400),
        ("GET /a HTTP/1.1\r\nHost: api:123456", 400),
        ("GET /a HTTP/1.1\r\nHost: [::1]api", 400),
        ("GET /a HTTP/1.1\r\nHost: [:::]", 400),
        ("GET /a HTTP/1.1\r\nHost: [1.2.3.4]", 400),
        ("GET /a HTTP/1.1\r\nHost: a." + "b" * 300, 400),
        ("GET http://a,b/ HTTP/1.1\r\nHost: a,b", 400),
        ("GET /a HTTP/1.0\r\nHost: a\r\nHost: b", 400),
        ("GET /a HTTP/2.0\r\nHost: api", 505),
        ("GET /a HTTP/0.9\r\nHost: api", 505),
        ("GET /a", 505),
        ("GET /a HTTP/1.2\r\nHost: api", 400),
        ("get /a HTTP/1.1\r\nHost: api", 400),
        ("BREW /a HTTP/1.1\r\nHost: api", 400),
        ("GET /\xe9 HTTP/1.1\r\nHost: api", 400),
        ("GET /\x01 HTTP/1.1\r\nHost: api", 400),
        ("GET /\x7f HTTP/1.1\r\nHost: api", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM", 400),
        (
            "CONNECT          HTTP/1.1\r\nHost: api",
            501,
        ),  # HTTP/0.9, whose target is where a version is looked for
    ],
)
def test_request_line_or_host_that_is_no_such_thing_is_refused(
    talk: Conversation, request_head: str, status: int
) -> None:
    client = talk.client()
    client.says(request_head.encode("latin-1") + b"\r\n\r\n")
    answer = client.answer()
    assert answer.status in {status, 400, 505} if status in {400, 505} else answer.status == status
    assert client.got_goodbye
    assert talk.untouched
    assert talk.gate.asked == []


@pytest.mark.parametrize(
    ("host", "matched"),
    [
        ("API.Example.com", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("api.example.com:8443", "api.example.com"),
        ("api.example.com.:8443", "api.example.com"),
        ("api:", "api"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("[2001:db8::1]:443", "[2001:db8::1]"),
        ("127.0.0.1", "127.0.0.1"),
        ("", ""),
    ],
)
def test_host_is_normalised_for_matching_only(talk: Conversation, host: str, matched: str) -> None:
    client = talk.client()
    client.says(f"GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert talk.gate.asked[0].host == matched
    assert f"Host: {host}\r\n".encode() in talk.upstream().hears()


def test_hosts_are_understood_up_to_their_longest_and_longer_ones_are_not_remembered() -> None:
    for number in range(2000):
        host = b"%04d." % number + b"a" * 250
        target = parse("GET", "/", [host], 1)
        assert isinstance(target, Target)
        assert target.host == host.decode()
        assert isinstance(parse("GET", "/", [host + b"." + b"a" * 20_000], 1), Fault)
    assert sum(map(len, _KNOWN_HOSTS)) < 1024 * 300


def test_host_that_is_remembered_is_refused_or_matched_as_at_first() -> None:
    for host in (b"API.remembered.:443", b"not remembered"):
        first, second = (parse("GET", "/", [host], 1) for _ in range(2))
        if isinstance(first, Fault):
            assert first == second
        else:
            assert isinstance(second, Target)
            assert first.host == second.host == "api.remembered"


def test_request_of_1_0_needs_no_host(talk: Conversation) -> None:
    assert forwarded(talk, b"GET /a HTTP/1.0\r\n\r\n") == "GET /a HTTP/1.1"


TEXTS = st.text(st.characters(max_codepoint=255), max_size=60) | st.text("/ahtps:.%2eE?#*@[]\\;", max_size=40)


@given(st.sampled_from(["GET", "OPTIONS"]), TEXTS, TEXTS, st.integers(0, 1))
def test_any_target_is_taken_apart_without_change_or_refused(
    method: str, target: str, host: str, version: int
) -> None:
    result = parse(method, target, [host.encode("latin-1")], version)
    if isinstance(result, Fault):
        assert result.reason in {Reason.REQUEST_MALFORMED, Reason.PATH_AMBIGUOUS}
        return
    assert isinstance(result, Target)
    # An absolute-form target may lack the slash or the path that stands for it.
    assert result.forwarded in {"/", "*"} or target.endswith((result.forwarded, result.forwarded[1:]))
    assert result.path + (f"?{result.query}" if "?" in result.forwarded else "") == result.forwarded
    assert result.host == matching_host(host)


def test_one_who_sends_many_hosts_does_not_make_the_others_strangers_for_good() -> None:
    for number in range(3000):
        parse("GET", "/", [b"made-up-%d.example" % number], 1)
    parse("GET", "/", [b"api.honest.example"], 1)
    assert b"api.honest.example" in _KNOWN_HOSTS
    assert len(_KNOWN_HOSTS) <= 1024
