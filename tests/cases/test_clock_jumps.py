"""The wall clock is set while the data plane works: forward past what tokens allow, and back before they began."""

import time
from pathlib import Path

import pytest

from sidecar.authorizer import Authorizer
from tests.proxy.conftest import Converse
from tests.support.conversation import Client, Conversation
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.records import RecordedTelemetry
from tests.support.world import Keys, authorizer, policy

LIFETIME, SKEW = 300, 30
"""Seconds: of the tokens that `mint` makes, and that an issuer's clock may differ."""
DAY = 86400.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n"


@pytest.fixture
def gate(signing_key: SigningKey) -> Authorizer:
    return authorizer(policy(), Keys.of(signing_key))


@pytest.fixture
def talk(converse: Converse, gate: Authorizer) -> Conversation:
    """A conversation whose tokens are checked in earnest, by the clock of this machine until it is set."""
    talk = converse(decides=gate)
    talk.wall = time.time()
    return talk


def asked(client: Client, token: str) -> None:
    client.says(f"GET /a HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n\r\n".encode())


def refused(talk: Conversation, client: Client, token: str) -> str:
    """The reason why; that it is a 401 is checked, and that the upstream hears of nothing."""
    asked(client, token)
    assert client.answer().status == 401
    assert talk.upstreams[0].hears() == b""
    reason = talk.observed.records[-1].reason
    assert reason is not None
    return reason.value


def permitted(talk: Conversation, client: Client, token: str) -> None:
    asked(client, token)
    talk.upstreams[0].hears_all()
    talk.upstreams[0].says(OK)
    assert client.answer().status == 200


def test_clock_set_forward_expires_a_token_that_was_verified_before(
    talk: Conversation, gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    token = signing_key.token(pki.client)
    client = talk.client(pki.client)
    permitted(talk, client, token)
    assert len(gate.verified) == 1
    talk.wall += LIFETIME + SKEW
    assert refused(talk, client, token) == "token_expired"
    talk.wall -= LIFETIME + SKEW
    permitted(talk, client, token)


def test_clock_set_back_before_a_token_was_issued_makes_it_not_yet_valid(
    talk: Conversation, signing_key: SigningKey, pki: Pki
) -> None:
    tokens = [signing_key.token(pki.client), signing_key.token(pki.client, nbf=int(talk.wall), iat=0)]
    client = talk.client(pki.client)
    for token in tokens:
        permitted(talk, client, token)
        talk.wall -= SKEW // 2
        permitted(talk, client, token)
        talk.wall -= SKEW
        assert refused(talk, client, token) == "token_not_yet_valid"
        talk.wall += SKEW + SKEW // 2
        permitted(talk, client, token)


def test_clock_set_forward_ends_the_stream_under_way(
    talk: Conversation, signing_key: SigningKey, pki: Pki
) -> None:
    client = talk.client(pki.client)
    asked(client, signing_key.token(pki.client))
    talk.upstream().says(ENDLESS)
    talk.later(1)
    assert not client.is_closed
    talk.wall += DAY
    talk.later(5)
    assert client.was_cut
    assert talk.upstreams[0].is_closed
    assert talk.record.ended_by == "token_expired"


def test_clock_set_back_leaves_the_stream_under_way_and_it_ends_with_its_token(
    talk: Conversation, signing_key: SigningKey, pki: Pki
) -> None:
    client = talk.client(pki.client)
    asked(client, signing_key.token(pki.client))
    upstream = talk.upstream()
    upstream.says(ENDLESS)
    talk.wall -= 30 * 365 * DAY
    talk.later(60)
    upstream.says(b"1\r\n.\r\n")
    assert not client.is_closed
    talk.wall += 30 * 365 * DAY
    talk.later(LIFETIME - 120)
    assert not client.is_closed
    talk.later(LIFETIME)
    assert client.was_cut
    assert talk.record.ended_by == "token_expired"


@pytest.mark.parametrize("jump", [DAY, -DAY, -30 * 365 * DAY])
def test_deadlines_of_a_connection_do_not_follow_the_wall_clock(
    talk: Conversation, pki: Pki, jump: float
) -> None:
    idle, slow = talk.client(pki.client), talk.client(pki.client)
    slow.says(b"GET /a HT")
    talk.wall += jump
    talk.later(1)
    assert not idle.is_closed
    assert not slow.is_closed
    talk.later(talk.settings.timeouts.request_head)
    assert slow.answer().status == 408
    talk.later(talk.settings.timeouts.idle)
    assert idle.got_goodbye


@pytest.mark.parametrize("jump", [DAY, -DAY, -30 * 365 * DAY])
def test_audit_records_of_a_request_in_which_the_clock_was_set_are_sane(
    talk: Conversation, signing_key: SigningKey, pki: Pki, tmp_path: Path, jump: float
) -> None:
    client = talk.client(pki.client)
    asked(client, signing_key.token(pki.client))
    began = talk.wall
    talk.wall += jump
    talk.upstream().says(OK)
    assert client.answer().status == 200
    record = talk.record
    assert began - 1 <= record.started <= began + 1
    assert all(0 <= part < 3600 for part in (record.decision_seconds, record.upstream_seconds))
    assert record.upstream_seconds <= record.duration < 3600
    recorder = RecordedTelemetry(tmp_path)
    recorder.telemetry.observe(record)
    (line,) = recorder.lines()
    assert (line["outcome"], line["status"]) == ("permit", 200)
