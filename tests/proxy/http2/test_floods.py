"""What a client of HTTP/2 may make the sidecar do for nothing is counted: past its allowance its connection ends."""

import pytest

from sidecar.decision.denial import Reason
from sidecar.proxy.admission import Admission
from sidecar.proxy.client.http2_allowance import Allowance
from sidecar.proxy.configuration import Limits, Timeouts
from sidecar.proxy.http2.events import ENHANCE_YOUR_CALM, NO_ERROR, REFUSED_STREAM
from tests.proxy.conftest import Converse
from tests.support.cleartext import DATA as RECORD
from tests.support.cleartext import seal
from tests.support.conversation import Conversation
from tests.support.http2_client import Http2Client, RawHttp2
from tests.support.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    request,
)

MANY = 20_000
"""Frames of a flood."""
PRIORITY_UPDATE = 16


def flood(client: RawHttp2, frames: bytes, times: int) -> None:
    """As a client sends them: many in one write."""
    at_once = max(1, 16_000 // len(frames))
    for _ in range(0, times, at_once):
        if client.client.is_closed or client.client.got_goodbye:
            return
        client.writes(frames * at_once)


NOISE = {
    "settings": frame(SETTINGS, 0, 0, b"\0\3\0\0\0\1"),
    "empty settings": frame(SETTINGS, 0, 0),
    "pings": frame(PING, 0, 0, bytes(8)),
    "windows by a byte": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    "windows of a stream by a byte": frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
    "empty content": frame(DATA, 0, 1),
    "padding alone": frame(DATA, 8, 1, b"\xff" + bytes(255)),
    "updates of a priority": frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=1"),
    "frames that nobody knows": frame(0x77, 0xFF, 1, b"?"),
    "priorities of old": frame(PRIORITY, 0, 1, b"\0\0\0\0\1"),
    "resets of a stream that is over": frame(RST_STREAM, 0, 1, bytes(4)),
    "goodbyes": frame(GOAWAY, 0, 0, bytes(8)),
}


@pytest.mark.parametrize("kind", NOISE)
def test_frames_that_ask_for_nothing_are_counted(talk: Conversation, kind: str) -> None:
    talk.ponders("/a")
    client = RawHttp2(talk)
    client.asks(1, request("/a", "POST"), ends=False)
    flood(client, NOISE[kind], MANY)
    assert client.goaway() == ENHANCE_YOUR_CALM
    assert client.client.got_goodbye
    assert [name for name, _ in talk.observed.incidents] == ["http2_flood"]
    assert len(talk.observed.records) == 1


def test_requests_that_are_taken_back_are_counted(converse: Converse) -> None:
    talk = converse(limits=Limits(stream_resets=20))
    client = RawHttp2(talk)
    for number in range(1, 2 * MANY, 2):
        client.writes(frame(HEADERS, 5, number, block(request())) + frame(RST_STREAM, 0, number, bytes(4)))
        if client.client.got_goodbye:
            break
    assert client.goaway() == ENHANCE_YOUR_CALM
    assert len(talk.gate.asked) == 21
    assert len(talk.observed.records) == 21
    assert talk.observed.incidents[0][0] == "http2_flood"


def test_requests_that_the_server_has_to_reset_are_counted(converse: Converse) -> None:
    talk = converse(limits=Limits(stream_resets=20))
    client = RawHttp2(talk)
    for number in range(1, 2 * MANY, 2):
        client.writes(frame(HEADERS, 5, number, block([*request(), (b"X", b"y")])))
        if client.client.got_goodbye:
            break
    assert client.goaway() == ENHANCE_YOUR_CALM
    assert len(talk.observed.records) == 21


def test_streams_that_the_client_spoils_are_counted(converse: Converse) -> None:
    """MadeYouReset (CVE-2025-8671): each is permitted and passed on before it is made to end."""
    talk = converse(limits=Limits(stream_resets=20))
    client = RawHttp2(talk)
    for number in range(1, 2 * MANY, 2):
        head = block(request("/a", "POST", (b"content-length", b"1")))
        client.writes(frame(HEADERS, END_HEADERS, number, head) + frame(DATA, 0, number, b"xx"))
        if client.client.got_goodbye:
            break
    assert client.goaway() == ENHANCE_YOUR_CALM
    assert len(talk.gate.asked) == 21


def test_a_client_that_changes_its_mind_now_and_then_is_served(converse: Converse) -> None:
    talk = converse(limits=Limits(stream_resets=20))
    client = Http2Client(talk)
    for _ in range(60):
        client.resets(client.asks())
        talk.later(1.0)
    assert not client.goaways
    assert not talk.observed.incidents


@pytest.mark.parametrize("size", [0, 1, 8])
def test_a_head_without_an_end_is_no_larger_than_the_limits(talk: Conversation, size: int) -> None:
    client = RawHttp2(talk)
    client.writes(frame(HEADERS, 0, 1, block(request())))
    flood(
        client, frame(CONTINUATION, 0, 1, block([(b"x", b"y")])[:size] if size < 5 else b"\0\1x\1y" * 3), MANY
    )
    assert client.goaway() not in (None, 0)
    assert client.client.got_goodbye
    assert not talk.gate.asked


def test_a_small_block_that_decodes_to_much_is_refused(talk: Conversation) -> None:
    """An HPACK bomb: one field of 4,000 bytes in the table, and a byte for each time it is meant."""
    client = RawHttp2(talk)
    large = b"\x40\1a\x7f\xa1\x1e" + b"x" * 4000
    client.writes(frame(HEADERS, 5, 1, block(request()) + large))
    client.writes(frame(HEADERS, 5, 3, block(request()) + b"\xbe" * 10))
    assert client.status(3) == 431
    client.writes(frame(HEADERS, 5, 5, block(request()) + b"\xbe" * 16_000))
    assert client.goaway() == ENHANCE_YOUR_CALM
    assert len(talk.gate.asked) == 1


def test_a_few_frames_that_nobody_knows_are_passed_over(talk: Conversation) -> None:
    """RFC 9113 §5.5."""
    client = RawHttp2(talk)
    client.writes(frame(0x77, 0xFF, 0x1234567, b"?") * 100)
    client.asks(1, request())
    assert len(talk.gate.asked) == 1


def test_pongs_do_not_pile_up_for_a_client_that_reads_nothing(talk: Conversation) -> None:
    client = RawHttp2(talk)
    client.client.stops_reading()
    flood(client, NOISE["pings"], MANY)
    assert client.client.transport.most_buffered < 200_000
    talk.later(61.0)
    assert client.client.is_closed


def test_windows_of_nothing_hold_no_more_than_the_buffers(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=10_000), timeouts=Timeouts(write=5.0))
    client = RawHttp2(talk)
    client.writes(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"))
    for number in range(1, 21, 2):
        client.asks(number, request(f"/{number}"))
    for upstream in talk.upstreams:
        upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x" * 20_000, b"x" * 20_000)
    assert len(talk.upstreams) == 10
    assert not any(upstream.is_read for upstream in talk.upstreams)
    talk.later(6.0)
    assert all(upstream.is_closed for upstream in talk.upstreams)
    assert client.was_reset(1) is not None


def test_an_allowance_grows_with_time_and_with_what_is_transferred() -> None:
    allowance = Allowance(10, 0.0)
    while allowance.takes_noise():
        pass
    allowance.grow(1.0, 10)
    taken = 0
    while allowance.takes_noise():
        taken += 1
    assert taken == pytest.approx(200, abs=2)
    allowance.transferred(100 * 1024)
    assert [allowance.takes_noise() for _ in range(120)].count(True) == pytest.approx(99, abs=2)
    assert [allowance.takes_reset() for _ in range(11)] == [True] * 10 + [False]
    allowance.grow(3.0, 10)
    assert [allowance.takes_reset() for _ in range(2)] == [True, False]


def test_a_flood_of_requests_is_bounded_by_the_streams_that_may_be_open(talk: Conversation) -> None:
    talk.gate.refuse("/a", Reason.CREDENTIALS_MISSING)
    client = Http2Client(talk)
    for _ in range(300):
        assert client.engine.request(request(), ends=True)
    client.pump()
    assert len(talk.observed.records) == 300
    assert not client.goaways


def test_streams_past_the_number_that_the_client_was_told_are_counted(converse: Converse) -> None:
    """Each is refused for itself (RFC 9113 §5.1.2), and has a record."""
    talk = converse(limits=Limits(concurrent_streams=10, stream_resets=20))
    client = RawHttp2(talk)
    for number in range(1, 2 * MANY, 2):
        client.writes(frame(HEADERS, END_HEADERS, number, block(request("/a", "POST"))))
        if client.client.got_goodbye:
            break
    assert client.goaway() == ENHANCE_YOUR_CALM
    assert len(talk.gate.asked) == 10
    assert [record.reason for record in talk.observed.records].count(Reason.OVERLOADED) == 21
    assert len(talk.observed.records) == 10 + 21
    assert [name for name, _ in talk.observed.incidents] == ["http2_flood"]


def test_content_in_pieces_of_a_byte_lets_others_pass(talk: Conversation) -> None:
    """It is content, so it is not counted; but the rest of it waits while others have their turn."""
    client, other = RawHttp2(talk), talk.client()
    client.asks(1, request("/a", "POST"), ends=False)
    (upload,) = talk.upstreams
    client.client.transport.arrive(seal(RECORD, frame(DATA, 0, 1, b"x") * 1600))
    talk.loop.run_once()
    other.transport.arrive(seal(RECORD, b"GET /b HTTP/1.1\r\nHost: api\r\n\r\n"))
    while len(talk.upstreams) == 1:
        talk.loop.run_once()
    assert upload.hears_all().count(b"x\r\n") < 400
    talk.loop.settle()
    assert client.goaway() is None


def test_trailers_are_no_larger_than_the_limits(converse: Converse) -> None:
    talk = converse(limits=Limits(trailer_bytes=1000))
    client = RawHttp2(talk)
    for number in range(1, 41, 2):
        client.asks(number, request("/a", "POST"), ends=False)
        fields = [(b"x-%d" % at, b"y" * 50) for at in range(90)]
        client.writes(frame(HEADERS, 5, number, block(fields)))
        assert client.status(number) == 431
    assert client.goaway() is None


@pytest.mark.parametrize("is_public", [True, False])
def test_requests_that_each_need_a_connection_let_others_pass(talk: Conversation, is_public: bool) -> None:
    """Which costs what several requests do: fewer of them are begun in one turn. Those that are refused cost little."""
    if not is_public:
        talk.gate.refuse("/a", Reason.CREDENTIALS_MISSING)
    client, other = RawHttp2(talk), talk.client()
    heads = [frame(HEADERS, END_HEADERS, number, block(request("/a", "POST"))) for number in range(1, 61, 2)]
    client.client.transport.arrive(seal(RECORD, b"".join(heads)))
    talk.loop.run_once()
    other.transport.arrive(seal(RECORD, b"GET /b HTTP/1.1\r\nHost: api\r\n\r\n"))
    while "/b" not in [head.path for head in talk.gate.asked]:
        talk.loop.run_once()
    assert len(talk.gate.asked) <= (5 if is_public else 17)
    talk.loop.settle()
    assert len(talk.gate.asked) == 31


def test_what_clients_do_for_nothing_is_told_while_it_happens_and_at_the_end(converse: Converse) -> None:
    talk = converse(limits=Limits(stream_resets=20))
    client = RawHttp2(talk)
    settled = talk.observed.glitches.get("noise", 0)
    client.asks(1, request("/a", "POST"), ends=False)
    client.writes(frame(PING, 0, 0, bytes(8)) * 10, frame(RST_STREAM, 0, 1, bytes(4)))
    talk.later(2.0)
    assert talk.observed.glitches["reset"] == 1
    assert 10 <= talk.observed.glitches["noise"] - settled <= 12, "and two SETTINGS"
    client.writes(frame(PING, 0, 0, bytes(8)) * 5)
    before = talk.observed.glitches["noise"]
    client.client.leaves()
    assert talk.observed.glitches["noise"] == before + 5


def test_windows_that_all_streams_get_at_once_are_counted(talk: Conversation) -> None:
    """CVE-2019-9511: each SETTINGS makes the sidecar send a frame with one byte on each of 100 streams."""
    client = RawHttp2(talk)
    client.writes(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"))
    for number in range(1, 201, 2):
        client.asks(number, request(f"/{number}"))
    for upstream in talk.upstreams:
        upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)
    sent = 0
    while not client.client.got_goodbye and sent < 20_000:
        sent += 1
        client.writes(frame(SETTINGS, 0, 0, b"\0\4" + sent.to_bytes(4)))
    assert client.goaway() == ENHANCE_YOUR_CALM
    assert sent < 2500


def test_a_frame_for_each_request_is_in_order(talk: Conversation) -> None:
    """As clients of gRPC do that measure their round trip with PING."""
    talk.gate.refuse("/a", Reason.CREDENTIALS_MISSING)
    client = RawHttp2(talk)
    for number in range(1, 5001, 2):
        client.asks(number, request("/a", "HEAD"))
        client.writes(frame(PING, 0, 0, bytes(8)))
    assert client.goaway() is None
    flood(client, NOISE["pings"], 3000)
    assert client.goaway() == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("kind", ["pings", "resets of a stream that is over", "continuations"])
def test_who_is_sent_away_knows_which_requests_were_processed(talk: Conversation, kind: str) -> None:
    """RFC 9113 §6.8: what is above the last stream may be sent again elsewhere, whatever its method."""
    client = RawHttp2(talk)
    client.asks(1, request("/a", "POST"), ends=False)
    client.asks(3, request("/a", "POST"))
    if kind == "continuations":
        client.writes(frame(HEADERS, 0, 5, block(request())))
    flood(client, NOISE.get(kind, frame(CONTINUATION, 0, 5)), MANY)
    (said,) = client.of(GOAWAY)
    assert len(talk.gate.asked) == 2
    assert int.from_bytes(said[:4]) == 3


@pytest.mark.parametrize("size", [1, 2, 7])
def test_content_in_small_pieces_that_waits_needs_little_more_than_its_bytes(
    talk: Conversation, size: int
) -> None:
    """CVE-2019-9518: nobody takes it before the decision, which an issuer may delay."""
    talk.ponders("/a")
    client = RawHttp2(talk)
    client.asks(1, request("/a", "POST"), ends=False)
    for _ in range(65_000 // size // 100):
        client.writes(frame(DATA, 0, 1, b"xyz1234"[:size]) * 100)
    (connection,) = talk.server._connections
    assert connection.wire is not None
    (exchange,) = connection.wire.exchanges()
    assert exchange.request.held_bytes == 65_000 // size // 100 * 100 * size
    assert len(exchange.request.chunks) <= 65


@pytest.mark.parametrize("flags", [0, END_HEADERS])
def test_who_sends_incomplete_heads_is_known_to_hold_memory(talk: Conversation, flags: int) -> None:
    """Such clients have to leave first when memory is short."""
    client = RawHttp2(talk)
    (connection,) = talk.server._connections
    assert connection.held_bytes == 0
    head = frame(HEADERS, flags, 1, b"x" * 16_000)
    client.writes(head[:9_000], head[9_000 : 16_009 if not flags else 16_008])
    assert connection.held_bytes >= 16_000
    if not flags:
        client.writes(frame(CONTINUATION, 0, 1, b"x" * 10_000))
        assert connection.held_bytes == 26_000
        assert Admission.hoards([connection]) == [connection]


@pytest.mark.parametrize("size", [1, 20, 1000])
def test_content_on_its_way_to_a_stream_that_was_answered_is_no_flood(talk: Conversation, size: int) -> None:
    """A call of gRPC sends its messages at once, as far as the window reaches; nobody told it of the refusal yet."""
    talk.gate.refuse("/a", Reason.CREDENTIALS_MISSING)
    client = RawHttp2(talk)
    client.asks(1, request("/a", "POST"), ends=False)
    assert client.was_reset(1) == NO_ERROR
    flood(client, frame(DATA, 0, 1, b"x" * size), 65_535 // size)
    client.asks(3, request("/a", "HEAD"))
    assert client.status(3) == 401
    assert client.goaway() is None


def test_streams_that_come_before_the_settings_are_known_are_refused_for_their_number(
    converse: Converse,
) -> None:
    """RFC 9113 §5.1.2: a client may send them again (§8.7). Each has a record that says why."""
    talk = converse(limits=Limits(concurrent_streams=10))
    client = RawHttp2(talk, settles=False)
    client.writes(PREFACE + frame(SETTINGS, 0, 0))
    for number in range(1, 27, 2):
        client.asks(number, request("/a", "POST"), ends=False)
    assert [client.was_reset(number) for number in (19, 21, 23, 25)] == [None] + [REFUSED_STREAM] * 3
    assert [record.reason for record in talk.observed.records] == [Reason.OVERLOADED] * 3
    assert len(talk.gate.asked) == 10
