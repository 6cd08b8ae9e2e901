"""A fault of ours in one exchange: the others on its connection to the API, and in the queue, are told all the same."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sidecar.proxy.configuration import HTTP2
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.http2.events import PROTOCOL_ERROR
from tests.proxy.conftest import Converse
from tests.support.conversation import UPSTREAM, Conversation, Upstream
from tests.support.http2_client import Http2Client
from tests.support.http2_frames import GOAWAY, PING, RST_STREAM, frame
from tests.support.http2_upstream import Http2Api

H2 = replace(UPSTREAM, protocol=HTTP2, max_connections=1)


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets a method of the exchange of `/0` raise, once."""

    def method(name: str) -> None:
        whole = getattr(Exchange, name)
        seen: list[str] = []

        def raises(self: Exchange, *args: Any) -> None:
            if self.record.path == "/0" and not seen:
                seen.append(name)
                raise ValueError("a fault")
            whole(self, *args)

        monkeypatch.setattr(Exchange, name, raises)

    return method


def resets(upstream: Upstream) -> None:
    upstream.says(b"".join(frame(RST_STREAM, 0, number, PROTOCOL_ERROR.to_bytes(4)) for number in (1, 3, 5)))


ENDS: dict[str, Callable[[Upstream], object]] = {
    "it resets all streams": resets,
    "it takes no more": lambda upstream: upstream.says(frame(GOAWAY, 0, 0, bytes(8))),
    "it breaks the rules": lambda upstream: upstream.says(frame(PING, 0, 1, bytes(8))),
    "it is gone": lambda upstream: upstream.leaves(),
}


@pytest.mark.parametrize("how", ENDS)
def test_all_are_told_that_their_stream_ended(
    converse: Converse, fails: Callable[[str], None], how: str
) -> None:
    talk = converse(upstream=H2, expected_bugs=1)
    client = Http2Client(talk)
    numbers = [client.asks(f"/{at}", "POST") for at in range(3)]
    api = Http2Api(talk.upstream())
    fails("upstream_failed")
    ENDS[how](api.upstream)
    talk.loop.settle()
    if how == "it takes no more":
        again = Http2Api(talk.upstream())
        for number in again.asked:
            again.says(number)
    assert client.got(numbers[0]).status == 500
    assert {client.got(number).status for number in numbers[1:]} == {200 if "more" in how else 502}
    number = client.asks("/next")
    assert not client.got(number).status
    next_one = talk.upstreams[-1]
    assert not next_one.is_closed, "a connection that is gone takes no place"
    client.client.leaves()


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_all_in_the_queue_are_told_that_the_api_is_down(
    converse: Converse, fails: Callable[[str], None], protocol: str
) -> None:
    talk = converse(upstream=replace(H2, protocol=protocol, connect_timeout=5.0), expected_bugs=1)
    talk.reachable = None
    client = Http2Client(talk)
    numbers = [client.asks(f"/{at}") for at in range(3)]
    fails("upstream_failed")
    talk.later(6)
    assert [client.got(number).status for number in numbers] == [500, 504, 504]


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_whoever_makes_room_does_not_suffer_from_who_takes_it(
    converse: Converse, fails: Callable[[str], None], protocol: str
) -> None:
    talk = converse(upstream=replace(H2, protocol=protocol), expected_bugs=1)
    client = Http2Client(talk)
    first = client.asks("/first")
    api = Http2Api(talk.upstream(), streams=1) if protocol == HTTP2 else None
    numbers = [client.asks(f"/{at}") for at in range(2)]
    fails("attach")
    answer(talk, api, 1)
    assert client.got(first).is_whole
    assert client.got(numbers[0]).status == 500
    answer(talk, api, 3)
    assert client.got(numbers[1]).status == 200


def answer(talk: Conversation, api: Http2Api | None, number: int) -> None:
    """The API answers the one request that it has."""
    if api is None:
        talk.upstreams[-1].says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    else:
        api.pump()
        api.says(number)


def test_a_stream_that_cannot_be_held_ends_alone(converse: Converse, fails: Callable[[str], None]) -> None:
    talk = converse(upstream=H2, expected_bugs=1)
    client = Http2Client(talk)
    numbers = [client.asks(f"/{at}", "PUT", ends=False) for at in range(2)]
    api = Http2Api(talk.upstream(), window=1000)
    api.engine.widen(1 << 20)
    fails("upstream_blocked")
    for number in numbers:
        client.sends(number, b"x" * 200_000, ends=True)
    assert client.got(numbers[0]).status == 500
    for _ in range(500):
        api.pump()
        client.pump()
    assert len(api.asked[3].body) == 200_000
    api.says(3)
    assert client.got(numbers[1]).status == 200
