"""What an idle HTTP/2 connection keeps: compression tables, settings and windows, in as little memory as possible."""

import gc
import subprocess
import sys
from dataclasses import replace

import pytest

from sidecar.proxy.client.http2 import Http2Wire
from sidecar.proxy.configuration import HTTP2
from sidecar.proxy.http2.engine import Http2Engine
from sidecar.proxy.http2.events import Unheeded
from sidecar.proxy.upstream.http2 import Http2Pool
from tests.proxy.conftest import Converse
from tests.support.cleartext import CleartextEngine
from tests.support.conversation import UPSTREAM, Conversation
from tests.support.http2_client import Http2Client
from tests.support.http2_frames import HEADERS, OPENING, block, frame, request
from tests.support.http2_upstream import Http2Api

LITTLE = 6 * 1024
"""Bytes for an idle session that has answered a request."""
CONTENT = b"c" * 50_000


def ok(content: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nX-Kept: "
        + b"r" * 900
        + b"\r\nContent-Length: %d\r\n\r\n" % len(content)
        + content
    )


# --- memory


def test_a_session_takes_little_memory() -> None:
    program = "from tests.support.http2_sessions import grown_by_a_session as grown; print(grown(500))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) <= LITTLE


def test_nothing_of_a_request_is_kept_when_all_of_it_was_read() -> None:
    engine = Http2Engine(Unheeded(), is_server=True, streams=1, window=65536, header_bytes=8192, headers=50)
    sent = OPENING + frame(HEADERS, 5, 1, block(request()))
    held = sys.getrefcount(sent)
    engine.receive(sent)
    assert sys.getrefcount(sent) > held
    engine.deliver(100)
    assert not engine.has_events
    assert sys.getrefcount(sent) == held


def test_a_connection_that_had_many_streams_keeps_no_room_for_them(talk: Conversation) -> None:
    talk.gate.refuse("/a")
    client = Http2Client(talk)
    (connection,) = talk.server._connections
    wire = connection.wire
    assert isinstance(wire, Http2Wire)
    numbers = [client.engine.request(request(), ends=True) for _ in range(50)]
    client.pump()
    talk.later(0.5)
    assert {client.got(number).status for number in numbers} == {403}
    assert sys.getsizeof(wire.streams) > sys.getsizeof({})
    talk.later(2)
    assert sys.getsizeof(wire.streams) == sys.getsizeof({})


def reached(start: object) -> set[bytes]:
    """All byte strings that an object keeps."""
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type):
            seen[id(one)] = one
            waiting += gc.get_referents(one)
    return {one for one in seen.values() if isinstance(one, bytes)}


def test_the_token_of_a_silent_client_is_not_kept(talk: Conversation) -> None:
    token = b"Bearer " + b"t" * 600
    client = Http2Client(talk)
    (connection,) = talk.server._connections
    wire = connection.wire
    assert isinstance(wire, Http2Wire)
    number = client.asks("/a", "GET", (b"authorization", token))
    talk.upstreams[-1].says(ok(b""))
    assert client.got(number).is_whole
    assert token in reached(wire._heads)
    talk.later(2)
    assert token not in reached(wire._heads)


def test_nothing_of_a_request_is_kept_on_a_silent_connection_to_the_api(converse: Converse) -> None:
    """An API may be sent the token, or who the client is."""
    talk = converse(upstream=replace(UPSTREAM, protocol=HTTP2, idle_timeout=60.0))
    sent, answered = b"s" * 600, b"a" * 600
    client = talk.client()
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\nX-Sent: " + sent + b"\r\n\r\n")
    api = Http2Api(talk.upstream())
    api.says(1, 200, (b"x-answered", answered))
    assert client.answer().status == 200
    pool = talk.server._pool
    assert isinstance(pool, Http2Pool)
    (road,) = pool._roads
    assert {sent, answered} <= reached(road.engine)
    talk.later(2)
    assert not {sent, answered} & reached(road.engine)


# --- state


@pytest.mark.parametrize("pause", [0.3, 1.5, 30.0])
def test_tables_and_windows_are_the_same_after_a_pause(talk: Conversation, pause: float) -> None:
    """Fields of later requests and responses refer to those of the first two (RFC 7541 §2.3.2): with another table on
    either side they would be a compression error, or another field. Content fills most of a stream's window each time.
    """
    client, sizes = Http2Client(talk), []
    for earlier in range(5):
        number = client.asks("/a", "POST", (b"x-kept", b"k" * 900), ends=False)
        client.sends(number, CONTENT, ends=True)
        seen = talk.upstreams[-1].request()
        assert seen is not None
        assert seen.body == CONTENT
        assert dict(seen.headers)["x-kept"] == "k" * 900
        before = client.received
        talk.upstreams[-1].says(ok(CONTENT))
        got = client.got(number)
        assert (got.status, got.body, got.fields["x-kept"]) == (200, CONTENT, "r" * 900)
        sizes.append(client.received - before)
        talk.later(pause if earlier else 0.1)
    assert max(sizes[2:]) < sizes[0] - 600
    assert talk.observed.incidents == []


# --- when


def engine_of(talk: Conversation) -> CleartextEngine:
    (connection,) = talk.server._connections
    engine = connection.link.engine
    assert isinstance(engine, CleartextEngine)
    return engine


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_a_connection_rests_once_in_each_pause(talk: Conversation, protocol: str) -> None:
    client = Http2Client(talk) if protocol == "h2" else talk.client()
    engine = engine_of(talk)
    for pauses in range(3):
        assert engine.rests == pauses
        if isinstance(client, Http2Client):
            client.asks()
        else:
            client.says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n")
        talk.later(5)
        assert engine.rests == pauses  # the request is in progress
        talk.upstreams[-1].says(ok(b""))
        talk.later(0.5)
        assert engine.rests == pauses
        talk.later(20)


def test_a_client_that_leaves_without_goodbye_has_shaken_hands(talk: Conversation) -> None:
    """Its end is not one of a handshake, before its first request either."""
    for asks in (False, True):
        client = Http2Client(talk)
        if asks:
            number = client.asks()
            talk.upstreams[-1].says(ok(b""))
            assert client.got(number).is_whole
        client.client.leaves()
    assert "client_left" not in [result for result, _ in talk.observed.handshakes]
