"""What follows a 101, and how streams end with the authority they run under."""

from dataclasses import replace

import pytest

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import Limits, Timeouts
from sidecar.proxy.exchange.tunnel import FrameTracker, close_frame
from tests.proxy.conftest import Converse
from tests.support.conversation import UPSTREAM, Client, Conversation, Upstream
from tests.support.pki import HOUR, Identity, Profile, self_signed, utc_now
from tests.support.records import RULE, STARTED

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: api\r\nSec-WebSocket-Key: x\r\n"
    b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: y\r\n"
    b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"
)
FRAME = b"\x81\x05hello"
MASKED = b"\x81\x85\x00\x00\x00\x00hello"
GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def opened(talk: Conversation) -> tuple[Client, Upstream]:
    """Both ends of a WebSocket."""
    client = talk.client()
    client.says(HANDSHAKE)
    upstream = talk.upstream()
    assert upstream.hears() == HANDSHAKE
    upstream.says(SWITCHING)
    assert client.hears() == SWITCHING
    return client, upstream


def expiring_in(talk: Conversation, seconds: float) -> Identity:
    """A client certificate that expires so many seconds from now, by the conversation's clock."""
    end = utc_now() + HOUR
    talk.wall = end.timestamp() - seconds
    return self_signed(Profile(not_after=end))


def test_a_switch_has_no_content_length(talk: Conversation) -> None:
    client = talk.client()
    client.says(HANDSHAKE)
    upstream = talk.upstream()
    upstream.says(SWITCHING.replace(b"\r\nUpgrade", b"\r\nContent-Length: 2\r\nUpgrade"), FRAME)
    assert client.hears() == SWITCHING + FRAME, "RFC 9110 §8.6"
    client.closes()


def test_bytes_pass_both_ways_after_the_switch(talk: Conversation) -> None:
    client, upstream = opened(talk)
    client.says(MASKED)
    assert upstream.hears() == MASKED
    upstream.says(FRAME, FRAME)
    assert client.hears() == FRAME + FRAME
    client.closes()
    assert upstream.is_closed
    assert talk.record.status == 101
    assert talk.record.upgraded
    assert (talk.record.bytes_in, talk.record.bytes_out) == (len(MASKED), 2 * len(FRAME))
    assert talk.record.ended_by == "client"


def test_bytes_that_come_with_the_switch_are_not_lost(talk: Conversation) -> None:
    client = talk.client()
    client.says(HANDSHAKE + MASKED, MASKED)
    upstream = talk.upstream()
    assert upstream.hears() == HANDSHAKE, "nothing passes before the upstream has agreed"
    upstream.says(SWITCHING + FRAME)
    assert client.hears() == SWITCHING + FRAME
    assert upstream.hears() == MASKED + MASKED


def test_refused_upgrade_reaches_nobody_and_ends_the_connection(talk: Conversation) -> None:
    talk.gate.refuse("/chat", Reason.BINDING_MISMATCH)
    client = talk.client()
    client.says(HANDSHAKE + b"GET /admin HTTP/1.1\r\nHost: api\r\n\r\n")
    assert client.statuses() == [401]
    assert client.got_goodbye
    assert talk.untouched
    assert len(talk.gate.asked) == 1


def test_upgrade_that_the_upstream_declines_ends_the_connection(talk: Conversation) -> None:
    client = talk.client()
    client.says(HANDSHAKE + b"GET /admin HTTP/1.1\r\nHost: api\r\n\r\n")
    upstream = talk.upstream()
    upstream.says(EMPTY)
    assert client.answer().header("connection") == "close"
    assert client.got_goodbye
    assert b"admin" not in upstream.hears()
    assert len(talk.gate.asked) == 1


@pytest.mark.parametrize(
    "protocol",
    ["h2c", "H2C", "h2", "HTTP/2.0", "TLS/1.2", "websocket, h2c", "websocket,h2c", "TLS/1.3, HTTP/1.1"],
)
def test_protocol_that_carries_requests_is_never_tunnelled(talk: Conversation, protocol: str) -> None:
    client = talk.client()
    client.says(
        f"GET /chat HTTP/1.1\r\nHost: api\r\nHTTP2-Settings: x\r\nUpgrade: {protocol}\r\n"
        "Connection: Upgrade, HTTP2-Settings\r\n\r\n".encode()
        + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    )
    upstream = talk.upstream()
    assert upstream.hears() == b"GET /chat HTTP/1.1\r\nHost: api\r\n\r\n"
    upstream.says(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: upgrade\r\n\r\n".encode()
    )
    assert client.statuses() == [502]
    assert upstream.hears() == b""
    assert upstream.is_closed


def test_upgrade_of_a_1_0_client_is_ignored(talk: Conversation) -> None:
    client = talk.client()
    client.says(HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert b"Upgrade" not in talk.upstream().hears()


def test_upgrade_with_a_body_is_400(talk: Conversation) -> None:
    client = talk.client()
    client.says(HANDSHAKE.replace(b"Host: api\r\n", b"Host: api\r\nContent-Length: 4\r\n") + b"GET ")
    assert client.statuses() == [400]
    assert talk.untouched


@pytest.mark.parametrize("allowed", [{"websocket"}, set(), {"tcp/2"}])
@pytest.mark.parametrize("protocol", ["tcp", "TCP", "websocket, tcp", "tcp, websocket"])
def test_protocol_that_the_rule_does_not_name_is_not_asked_for(
    talk: Conversation, protocol: str, allowed: set[str]
) -> None:
    talk.gate.verdicts["/chat"] = talk.gate.permit(rule=replace(RULE, upgrade=frozenset(allowed)))
    client = talk.client()
    client.says(
        HANDSHAKE.replace(b"websocket", protocol.encode()) + b"GET /admin HTTP/1.1\r\nHost: api\r\n\r\n"
    )
    upstream = talk.upstream()
    assert b"pgrade" not in upstream.hears()
    upstream.says(f"HTTP/1.1 101 x\r\nUpgrade: {protocol}\r\nConnection: upgrade\r\n\r\n".encode())
    assert client.statuses() == [502]
    assert b"admin" not in upstream.hears()


@pytest.mark.parametrize("answered", [b"h2c", b"tcp", b"websocket, tcp", b""])
def test_switch_to_a_protocol_that_was_not_asked_for_is_a_broken_answer(
    talk: Conversation, answered: bytes
) -> None:
    client = talk.client()
    client.says(HANDSHAKE)
    talk.upstream().says(SWITCHING.replace(b"websocket", answered) + FRAME)
    assert client.statuses() == [502]


def test_other_protocols_that_the_rule_names_are_tunnelled_too(talk: Conversation) -> None:
    talk.gate.verdicts["/attach"] = talk.gate.permit(rule=replace(RULE, upgrade=frozenset({"tcp"})))
    client = talk.client()
    client.says(b"POST /attach HTTP/1.1\r\nHost: api\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n")
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\nout")
    assert client.hears().endswith(b"\r\n\r\nout")
    client.says(b"in")
    assert upstream.hears().endswith(b"in")


def test_client_that_ends_its_half_of_a_tunnel_still_hears_the_rest(talk: Conversation) -> None:
    client, upstream = opened(talk)
    client.says(MASKED)
    client.says_no_more()
    assert upstream.hears() == MASKED
    assert upstream.transport.got_eof
    upstream.says(FRAME)
    assert client.hears() == FRAME
    upstream.leaves()
    assert client.got_goodbye


def test_half_of_a_tunnel_ends_with_its_token_too(talk: Conversation) -> None:
    talk.gate.valid_until = STARTED + 60
    client, upstream = opened(talk)
    client.says_no_more()
    talk.later(61)
    assert client.hears() == close_frame(1008, "token expired", masked=False)
    assert client.got_goodbye
    assert upstream.is_closed
    assert talk.record.ended_by == "token_expired"


def test_client_may_close_while_it_is_let_go(talk: Conversation) -> None:
    client, upstream = opened(talk)
    upstream.leaves()
    assert client.got_goodbye
    client.closes()
    assert client.is_closed


def test_last_bytes_of_a_client_that_leaves_reach_the_upstream(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=100_000))
    client, upstream = opened(talk)
    upstream.stops_reading()
    client.says(MASKED * 100)
    client.closes()
    assert not upstream.is_closed
    upstream.reads()
    assert upstream.hears() == MASKED * 100
    assert upstream.is_closed


def test_ended_tunnel_to_an_upstream_that_reads_nothing_gives_its_place_back(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=1))
    client, upstream = opened(talk)
    upstream.stops_reading()
    client.says(MASKED)
    client.closes()
    talk.later(9)
    assert (upstream.is_closed, talk.server.upstream_connections) == (False, 1), "it may still read"
    waiting = talk.client()
    waiting.says(GET)
    talk.later(2)
    assert upstream.is_closed
    talk.upstream().says(EMPTY)
    assert waiting.hears() == EMPTY


def test_last_bytes_of_an_upstream_that_leaves_reach_the_client(talk: Conversation) -> None:
    client, upstream = opened(talk)
    client.stops_reading()
    upstream.says(FRAME * 1000)
    upstream.leaves()
    assert not client.is_closed
    client.reads()
    assert client.hears() == FRAME * 1000
    assert client.got_goodbye
    assert talk.record.ended_by == "upstream"


def test_slow_ends_hold_each_other_at_the_watermark(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=10_000))
    client, upstream = opened(talk)
    client.stops_reading()
    upstream.says(*[b"x" * 1000] * 100)
    assert not upstream.is_read
    assert client.transport.most_buffered < 12_000
    client.reads()
    assert upstream.is_read
    upstream.stops_reading()
    client.says(*[b"x" * 1000] * 100)
    assert not client.is_read
    assert upstream.transport.most_buffered < 12_000
    upstream.reads()
    assert client.is_read
    assert len(upstream.hears()) == 100_000
    assert len(client.hears()) == 100_000


def test_tunnel_on_a_connection_that_is_old_is_told_to_leave(converse: Converse) -> None:
    talk = converse(timeouts=Timeouts(connection_age=60))
    client, upstream = opened(talk)
    talk.later(59)
    upstream.says(FRAME)
    client.says(MASKED)
    assert (client.hears(), upstream.hears()) == (FRAME, MASKED)
    talk.later(2)
    assert client.hears() == close_frame(1001, "connection age", masked=False)
    assert upstream.hears() == close_frame(1001, "connection age", masked=True)
    assert client.got_goodbye
    assert upstream.is_closed
    assert talk.record.ended_by == "connection_age"


def test_silent_tunnel_ends(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, stream_timeout=30.0))
    client, upstream = opened(talk)
    for _ in range(3):
        talk.later(25)
        client.says(MASKED)
    talk.later(31)
    assert client.hears() == close_frame(1001, "timeout", masked=False)
    assert client.got_goodbye
    assert upstream.is_closed
    assert talk.record.ended_by == "timeout"


def test_total_deadline_does_not_end_tunnels(converse: Converse) -> None:
    talk = converse(upstream=replace(UPSTREAM, total_timeout=5.0))
    client, _ = opened(talk)
    talk.later(60)
    assert not client.is_closed


# --- streams end with their authority


def test_websocket_is_closed_with_1008_when_its_token_expires(talk: Conversation) -> None:
    talk.gate.valid_until = STARTED + 60
    client, upstream = opened(talk)
    upstream.hears()
    talk.later(59)
    assert not client.is_closed
    talk.later(1.5)
    assert client.hears() == b"\x88\x0f\x03\xf0token expired"
    assert client.got_goodbye
    assert upstream.hears() == b"\x88\x8f\x00\x00\x00\x00\x03\xf0token expired"
    assert upstream.is_closed
    assert talk.record.ended_by == "token_expired"
    assert talk.record.status == 101


def test_websocket_is_closed_when_the_certificate_expires(talk: Conversation) -> None:
    client = talk.client(expiring_in(talk, 60))
    client.says(HANDSHAKE)
    upstream = talk.upstream()
    upstream.says(SWITCHING)
    talk.later(58)
    assert client.hears() == SWITCHING
    talk.later(3)
    assert client.hears() == close_frame(1008, "certificate expired", masked=False)
    assert talk.record.ended_by == "certificate_expired"


def test_grace_lets_streams_outlive_their_token(converse: Converse) -> None:
    talk = converse(timeouts=Timeouts(expiry_grace=30.0))
    talk.gate.valid_until = STARTED + 60
    client, _ = opened(talk)
    talk.later(89)
    assert not client.is_closed
    talk.later(2)
    assert client.got_goodbye


def test_no_close_frame_is_put_into_another_frame(talk: Conversation) -> None:
    talk.gate.valid_until = STARTED + 60
    client, upstream = opened(talk)
    upstream.says(b"\x82\x7e\x10\x00" + b"x" * 100)
    client.hears()
    talk.later(61)
    assert client.hears() == b""
    assert client.got_goodbye


def test_events_end_when_the_token_expires(talk: Conversation) -> None:
    talk.gate.valid_until = STARTED + 60
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
    talk.later(61)
    assert client.was_cut
    assert not client.hears().endswith(b"0\r\n\r\n")
    assert upstream.is_closed
    assert talk.record.ended_by == "token_expired"
    assert talk.record.reason is Reason.TOKEN_EXPIRED


def test_upload_ends_with_401_when_the_token_expires(talk: Conversation) -> None:
    talk.gate.valid_until = STARTED + 60
    client = talk.client()
    client.says(b"PUT /a HTTP/1.1\r\nHost: api\r\nContent-Length: 1000000\r\n\r\n")
    upstream = talk.upstream()
    for _ in range(61):
        client.says(b"x" * 1000)
        talk.later(1)
    assert client.answer().status == 401
    assert upstream.is_closed
    assert talk.record.ended_by == "token_expired"


def test_answer_to_a_whole_request_is_waited_for(talk: Conversation) -> None:
    talk.gate.valid_until = STARTED + 10
    client = talk.client()
    client.says(b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 1\r\n\r\nx")
    talk.later(20)
    talk.upstream().says(EMPTY)
    assert client.answer().status == 200, "a 401 now would make the client order twice"


def test_public_stream_needs_no_authority(talk: Conversation) -> None:
    talk.gate.verdicts["/chat"] = talk.gate.permit(token=None)
    client = talk.client(expiring_in(talk, 60))
    client.says(HANDSHAKE)
    talk.upstream().says(SWITCHING)
    talk.later(299)
    assert client.hears() == SWITCHING
    talk.later(2)
    assert talk.record.ended_by == "timeout"


# --- frames


def test_tracker_knows_where_frames_end_however_they_are_cut() -> None:
    stream = (
        b"\x81\x00"
         b"\x81\x05hello"
         b"\x81\x85\x01\x02\x03\x04hello"
         b"\x82\x7e\x00\xc8" + b"x" * 200
        + b"\x82\x7f" + (70_000).to_bytes(8) + b"y" * 70_000
    )  # fmt: skip
    ends = {2, 9, 20, 224, 70_234}
    tracker = FrameTracker()
    for position, byte in enumerate(stream[:300]):
        tracker.feed(bytes([byte]))
        assert tracker.is_between_frames == (position + 1 in ends)
    tracker.feed(stream[300:])
    assert tracker.is_between_frames


def test_close_reason_fits_its_frame() -> None:
    frame = close_frame(1008, "x" * 200, masked=False)
    assert frame[1] == 125 == len(frame) - 2
