"""A client that would be refused now, or whose token has ended: nothing more of it comes to the upstream.

It is refused after a change of the trusted authorities, or of a revocation list, with `close_on_ca_change`.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from sidecar.decision.denial import Reason
from tests.proxy.conftest import Converse
from tests.support.conversation import LISTENER, UPSTREAM, Client, Conversation, Upstream
from tests.support.http2_client import RawHttp2
from tests.support.http2_frames import DATA, END_STREAM, frame, request
from tests.support.pki import Pki

assert LISTENER.tls is not None
CLOSING = replace(LISTENER, tls=replace(LISTENER.tls, close_on_ca_change=True))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Http1:
    """One connection of HTTP/1.1 with one request."""

    def __init__(self, talk: Conversation, pki: Pki) -> None:
        self.client: Client = talk.client(pki.client)

    def asks(self, *, ends: bool) -> None:
        self.client.says(b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n" % (not ends))

    def goes_on(self) -> None:
        if not self.client.is_closed:
            self.client.says(b"x")

    def statuses(self) -> list[int]:
        return self.client.statuses()


class Http2:
    """The same of HTTP/2."""

    def __init__(self, talk: Conversation, pki: Pki) -> None:
        self.client = RawHttp2(talk, pki.client)

    def asks(self, *, ends: bool) -> None:
        self.client.asks(1, request("/a", "POST"), ends=ends)

    def goes_on(self) -> None:
        self.client.writes(frame(DATA, END_STREAM, 1, b"x"))

    def statuses(self) -> list[int]:
        return [status] if (status := self.client.status(1)) else []


Wire = Http1 | Http2
WIRES = pytest.mark.parametrize("wire", [Http1, Http2])


def change(talk: Conversation, pki: Pki) -> None:
    """The authority of the client is gone."""
    talk.tls.distrusted.add(pki.client.der)
    talk.reload(talk.settings)


def is_refused(talk: Conversation, statuses: list[int]) -> None:
    assert statuses == [401]
    assert talk.record.reason is Reason.CERTIFICATE_EXPIRED
    assert talk.record.ended_by == "certificate_expired"
    assert talk.record.bytes_in == 0


@WIRES
def test_decision_that_comes_later_permits_nothing(
    wire: Callable[[Conversation, Pki], Wire], converse: Converse, pki: Pki
) -> None:
    talk = converse(listener=CLOSING)
    talk.ponders("/a")
    client = wire(talk, pki)
    client.asks(ends=True)
    change(talk, pki)
    talk.decide("/a")
    is_refused(talk, client.statuses())
    assert talk.untouched


@WIRES
def test_request_in_line_for_the_upstream_is_not_sent(
    wire: Callable[[Conversation, Pki], Wire], converse: Converse, pki: Pki
) -> None:
    talk = converse(listener=CLOSING, upstream=replace(UPSTREAM, max_connections=1))
    other = talk.client(pki.other_client)
    other.says(b"GET /b HTTP/1.1\r\nHost: api\r\n\r\n")
    client = wire(talk, pki)
    client.asks(ends=True)
    change(talk, pki)
    talk.upstream().says(OK)
    assert other.answer().status == 200
    assert client.statuses() == [401]
    assert [record.path for record in talk.observed.records] == ["/a", "/b"]
    (only,) = talk.upstreams
    assert [seen.target for seen in only.requests()] == ["/b"]


@WIRES
def test_request_whose_content_is_on_its_way_is_not_completed(
    wire: Callable[[Conversation, Pki], Wire], converse: Converse, pki: Pki
) -> None:
    talk = converse(listener=CLOSING)
    client = wire(talk, pki)
    client.asks(ends=False)
    upstream = talk.upstream()
    change(talk, pki)
    client.goes_on()
    is_refused(talk, client.statuses())
    assert upstream.is_closed


@WIRES
def test_request_that_the_upstream_has_is_answered(
    wire: Callable[[Conversation, Pki], Wire], converse: Converse, pki: Pki
) -> None:
    """It may have acted on it: a 401 would make the client send it again."""
    talk = converse(listener=CLOSING)
    client = wire(talk, pki)
    client.asks(ends=True)
    change(talk, pki)
    talk.later(1.0)
    talk.upstream().says(OK)
    assert client.statuses() == [200]


def test_requests_that_have_not_ended_are_answered_at_once(converse: Converse, pki: Pki) -> None:
    """Those that declare no content are decided only when their streams end (RFC 9113 §8.1.1)."""
    talk = converse(listener=CLOSING)
    client = RawHttp2(talk, pki.client)
    numbers = range(1, 13, 2)
    for number in numbers:
        client.asks(number, request("/a", "POST", (b"content-length", b"0")), ends=False)
    change(talk, pki)
    client.writes(*[frame(DATA, END_STREAM, number) for number in numbers])
    assert [client.status(number) for number in numbers] == [401] * 6
    assert {record.reason for record in talk.observed.records} == {Reason.CERTIFICATE_EXPIRED}
    assert talk.untouched
    assert not talk.gate.asked
    assert client.client.got_goodbye


class BrokenOnce(set[bytes]):
    """Fails when it is asked first."""

    asked = 0

    def isdisjoint(self, _other: Iterable[object]) -> bool:
        self.asked += 1
        if self.asked == 1:
            raise RuntimeError
        return False


def test_fault_of_ours_while_one_client_is_judged_keeps_no_other_from_it(
    converse: Converse, pki: Pki
) -> None:
    talk = converse(listener=CLOSING, expected_bugs=1)
    broken, other = talk.client(pki.client), talk.client(pki.client)
    talk.tls.distrusted = BrokenOnce()
    change(talk, pki)
    assert broken.is_closed
    assert other.is_closed


# --- the second try of a request, and a decision that came late


def second_request(talk: Conversation, client: Client) -> Upstream:
    """Sent on a connection that has served one: if the upstream closes it, the request is sent again."""
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n")
    upstream = talk.upstream()
    upstream.says(OK)
    assert client.answer().status == 200
    upstream.requests()
    client.says(b"GET /b HTTP/1.1\r\nHost: api\r\n\r\n")
    assert [seen.target for seen in upstream.requests()] == ["/b"]
    return upstream


def test_request_is_not_sent_again_for_a_client_that_would_be_refused(converse: Converse, pki: Pki) -> None:
    talk = converse(listener=CLOSING)
    client = talk.client(pki.client)
    upstream = second_request(talk, client)
    change(talk, pki)
    upstream.resets()
    assert talk.untouched
    assert client.answer().status == 502


@pytest.mark.parametrize("how", ["distrust", "expiry"])
def test_request_that_waits_for_its_second_try_ends_with_its_authority(
    how: str, converse: Converse, pki: Pki
) -> None:
    talk = converse(listener=CLOSING, upstream=replace(UPSTREAM, max_connections=1))
    talk.gate.valid_until = talk.wall + 10
    client = talk.client(pki.client)
    upstream = second_request(talk, client)
    talk.gate.valid_until = float("inf")
    other = talk.client(pki.other_client, ("192.0.2.8", 5))
    other.says(b"GET /long HTTP/1.1\r\nHost: api\r\n\r\n")
    upstream.resets()
    again = talk.upstream()
    assert [seen.target for seen in again.requests()] == ["/long"]
    if how == "distrust":
        change(talk, pki)
    talk.later(12)
    again.says(OK)
    assert client.answer().status == 401
    assert again.requests() == []
    expected = Reason.CERTIFICATE_EXPIRED if how == "distrust" else Reason.TOKEN_EXPIRED
    assert expected in {record.reason for record in talk.observed.records}


@WIRES
@pytest.mark.parametrize(("seconds", "status"), [(4.0, 0), (6.0, 401)])
def test_decision_that_comes_after_the_token_has_expired_permits_nothing(
    wire: Callable[[Conversation, Pki], Wire], converse: Converse, pki: Pki, seconds: float, status: int
) -> None:
    talk = converse()
    talk.gate.valid_until = talk.wall + 5
    talk.ponders("/a")
    client = wire(talk, pki)
    client.asks(ends=True)
    talk.later(seconds)
    talk.decide("/a")
    assert client.statuses() == [status] * bool(status)
    assert talk.untouched is bool(status)
    if status:
        assert talk.record.reason is Reason.TOKEN_EXPIRED
