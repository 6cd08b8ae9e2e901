"""Many connections at once: bounds, drain, reload, and our own faults."""

from dataclasses import replace
from typing import cast

import pytest

from sidecar.decision.denial import Reason
from sidecar.http.answer import document
from sidecar.http.response_fields import ResponseName
from sidecar.proxy.configuration import Limits
from sidecar.telemetry.outcome import outcome_of
from tests.proxy.conftest import Converse
from tests.support.cleartext import DATA, seal
from tests.support.conversation import LISTENER, UPSTREAM, Conversation
from tests.support.deciding import Gate
from tests.support.pki import Pki

GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_connections_past_the_limit_are_told_so(converse: Converse) -> None:
    talk = converse(limits=Limits(connections=2))
    first, second, third = talk.client(), talk.client(), talk.client()
    third.says(GET)
    answer = third.answer()
    assert answer.status == 503
    assert answer.header("retry-after") == "1"
    assert third.got_goodbye
    assert talk.untouched
    first.says(GET)
    talk.upstream().says(EMPTY)
    assert first.answer().status == 200
    second.closes()
    fourth = talk.client()
    fourth.says(GET)
    talk.upstreams[0].says(EMPTY)
    assert fourth.answer().status == 200


def test_connections_far_past_the_limit_are_closed_at_once(converse: Converse) -> None:
    talk = converse(limits=Limits(connections=1))
    clients = [talk.client() for _ in range(66)]
    assert [client.is_closed for client in clients] == [False] * 65 + [True]
    assert ("connection_refused", "too many connections") in talk.observed.incidents
    assert talk.server.connections == 65


def test_address_with_the_most_idle_connections_makes_room_for_others(converse: Converse) -> None:
    talk = converse(limits=Limits(connections=10))
    honest = [talk.client(peer=(f"198.51.100.{number}", 1)) for number in range(3)]
    hostile = [talk.client(peer=("192.0.2.66", number), shakes_hands=number % 2 == 0) for number in range(7)]
    talk.later(1)
    newcomer = talk.client(peer=("198.51.100.9", 1))
    assert [one.is_closed for one in hostile] == [True] + [False] * 6
    newcomer.says(GET)
    talk.upstream().says(EMPTY)
    assert newcomer.answer().status == 200
    assert not any(one.is_closed for one in honest)
    (given_up,) = [detail for name, detail in talk.observed.incidents if name == "connections_given_up"]
    assert given_up == "192.0.2.66 had the most idle connections without a permitted token"


def test_where_all_come_from_one_address_the_oldest_idle_one_makes_room(converse: Converse) -> None:
    talk = converse(limits=Limits(connections=2))
    oldest, older = talk.client(), talk.client()
    talk.later(1)
    newcomer = talk.client()
    assert (oldest.is_closed, older.is_closed) == (True, False)
    newcomer.says(GET)
    talk.upstream().says(EMPTY)
    assert newcomer.answer().status == 200


def test_connection_that_brought_a_permitted_token_or_has_a_request_under_way_stays(
    converse: Converse,
) -> None:
    talk = converse(limits=Limits(connections=2))
    talk.gate.verdicts["/public"] = talk.gate.permit(token=None)
    permitted, busy = talk.client(), talk.client()
    permitted.says(GET)
    upstream = talk.upstream()
    upstream.says(EMPTY)
    busy.says(GET.replace(b"/a", b"/public"))
    talk.later(30)
    newcomer = talk.client()
    newcomer.says(GET)
    assert newcomer.answer().status == 503
    assert not permitted.is_closed
    assert not busy.is_closed
    upstream.says(EMPTY)


def test_connection_on_which_only_public_requests_passed_makes_room(converse: Converse) -> None:
    talk = converse(limits=Limits(connections=1))
    talk.gate.verdicts["/public"] = talk.gate.permit(token=None)
    public = talk.client()
    public.says(GET.replace(b"/a", b"/public"))
    talk.upstream().says(EMPTY)
    talk.later(1)
    assert not talk.client().is_closed
    assert public.is_closed


def test_one_address_has_no_more_connections_than_it_may(converse: Converse) -> None:
    talk = converse(limits=Limits(connections_per_address=2))
    first, second, third = (talk.client(peer=("2001:db8::1", number)) for number in range(3))
    assert [one.is_closed for one in (first, second, third)] == [False, False, True]
    assert ("connection_refused", "too many connections of 2001:db8::1") in talk.observed.incidents
    assert talk.client(peer=("2001:db8::ffff", 1)).is_closed, "the same /64"
    assert not talk.client(peer=("2001:db8:0:1::1", 1)).is_closed
    first.closes()
    assert not talk.client(peer=("2001:db8::1", 4)).is_closed


def test_connections_are_shed_while_memory_is_short(talk: Conversation) -> None:
    before = talk.client()
    talk.server.short_of_memory = True
    clients = [talk.client() for _ in range(65)]
    assert [client.is_closed for client in clients] == [False] * 64 + [True]
    clients[0].says(GET)
    assert clients[0].answer().status == 503
    before.says(GET)
    talk.upstream().says(EMPTY)
    assert before.answer().status == 200, "who was there before is served"
    talk.server.short_of_memory = False
    after = talk.client()
    after.says(GET)
    talk.upstreams[0].says(EMPTY)
    assert after.answer().status == 200


def test_drain_finishes_what_is_under_way_and_closes_the_idle(talk: Conversation) -> None:
    busy, idle = talk.client(), talk.client()
    busy.says(GET)
    talk.server.begin_drain()
    assert not talk.loop.accepting
    upstream = talk.upstream()
    talk.later(1.5)
    assert idle.got_goodbye
    assert not busy.is_closed
    upstream.says(EMPTY)
    assert busy.answer().header("connection") == "close"
    assert busy.got_goodbye
    assert talk.loop.run_until_complete(talk.server.drained(1))


def test_drain_does_not_wait_for_a_connection_that_becomes_idle_in_it(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    talk.server.begin_drain()
    upstream.says(b"k")
    answer = client.answer()
    assert (answer.header("connection"), answer.body) == (None, b"ok"), "its head was sent before"
    assert not client.is_closed
    talk.later(1.5)
    assert client.got_goodbye


def test_drain_does_not_wait_for_a_connection_whose_handshake_ends_in_it(talk: Conversation) -> None:
    client = talk.client(shakes_hands=False)
    talk.server.begin_drain()
    client.shakes_hands()
    talk.later(1.5)
    assert client.got_goodbye


def test_idle_client_may_still_ask_in_the_moment_of_the_drain(talk: Conversation) -> None:
    client = talk.client()
    talk.server.begin_drain()
    client.says(GET)
    talk.upstream().says(EMPTY)
    assert client.answer().header("connection") == "close"


def test_websocket_is_told_to_leave_in_a_drain(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
    talk.upstream().says(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    )
    client.hears()
    talk.server.begin_drain()
    talk.loop.settle()
    assert client.hears() == b"\x88\x07\x03\xe9drain"
    assert talk.record.ended_by == "drain"


def test_drain_does_not_wait_longer_than_told(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    talk.server.begin_drain()
    waiting = talk.loop.create_task(talk.server.drained(30))
    talk.later(29)
    assert not waiting.done()
    talk.later(2)
    assert waiting.result() is False
    assert not client.is_closed


def test_reload_does_not_split_a_request(talk: Conversation) -> None:
    talk.ponders("/a")
    client = talk.client()
    client.says(GET)
    other = Gate()
    other.refuse("/a")
    settings = replace(talk.settings, upstream=replace(UPSTREAM, identity_headers={"X-Other": "sub"}))
    talk.reload(settings, other)
    talk.decide("/a")
    upstream = talk.upstream()
    assert upstream.hears() == GET
    upstream.says(EMPTY)
    assert client.answer().status == 200
    assert upstream.is_closed, "the pool of the old configuration keeps no connection"
    client.says(GET)
    assert client.answer().status == 403
    assert [record.generation for record in talk.observed.records] == [1, 2]


@pytest.mark.parametrize("moment", ["connecting", "in line"])
def test_request_that_waits_for_a_connection_survives_a_reload(converse: Converse, moment: str) -> None:
    talk = converse(upstream=replace(UPSTREAM, max_connections=1))
    clients = [talk.client() for _ in range(2 if moment == "in line" else 1)]
    for client in clients:
        client.says(GET)
    first = talk.upstream()
    talk.reload(replace(talk.settings, upstream=UPSTREAM))
    first.says(EMPTY)
    if moment == "in line":
        first.says(EMPTY)
    assert [client.answer().status for client in clients] == [200] * len(clients)
    assert first.is_closed


@pytest.mark.parametrize("close", [True, False], ids=["told to close", "left open"])
def test_client_whose_certificate_no_longer_chains_has_to_leave(
    converse: Converse, pki: Pki, close: bool
) -> None:
    assert LISTENER.tls is not None
    listener = replace(LISTENER, tls=replace(LISTENER.tls, close_on_ca_change=close))
    talk = converse(listener=listener)
    idle, busy, streaming = (talk.client(pki.client) for _ in range(3))
    other = talk.client(pki.other_client)
    busy.says(GET)
    streaming.says(GET)
    first, second = talk.upstream(), talk.upstream()
    second.says(b"HTTP/1.1 200 OK\r\n\r\nabc")
    talk.tls.distrusted.add(pki.client.der)
    talk.reload(talk.settings)
    assert idle.is_closed is close
    talk.later(1)
    first.says(EMPTY)
    assert busy.answer().header("connection") == ("close" if close else None)
    assert streaming.is_closed is close
    assert busy.is_closed is close
    assert not other.is_closed


def test_fault_of_ours_in_a_decision_is_500_and_never_a_pass(converse: Converse) -> None:
    talk = converse(expected_bugs=1)
    talk.gate.verdicts["/a"] = RuntimeError("secret")
    client = talk.client()
    client.says(GET)
    answer = client.answer()
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert client.got_goodbye
    assert talk.untouched
    assert talk.record.reason is Reason.INTERNAL_ERROR
    assert "secret" not in str(talk.observed.incidents)


def test_fault_of_ours_in_a_late_decision_is_500_and_never_a_pass(converse: Converse) -> None:
    talk = converse(expected_bugs=1)
    talk.ponders("/a")
    client = talk.client()
    client.says(GET)
    talk.fail("/a", RuntimeError("secret"))
    assert client.answer().status == 500
    assert talk.untouched


def test_fault_of_ours_on_the_way_back_ends_that_exchange_alone(converse: Converse) -> None:
    talk = converse(expected_bugs=1)
    client, other = talk.client(), talk.client()
    client.says(GET)
    other.says(GET)
    first, second = talk.upstream(), talk.upstream()
    # Whatever it is: here a memo of names that holds what it must not.
    talk.server.serving.response_names.seen[b"X-Broken"] = cast("ResponseName", "no name")
    first.says(b"HTTP/1.1 200 OK\r\nX-Broken: one\r\n\r\n")
    second.says(EMPTY)
    assert other.answer().status == 200
    assert client.statuses() == [500]


def test_documents_of_our_own_are_served_without_a_decision(talk: Conversation) -> None:
    path = "/.well-known/oauth-protected-resource"
    talk.server.serving.documents = {path: document(b"{}")}
    client = talk.client()
    client.says(f"GET {path} HTTP/1.1\r\nHost: api\r\n\r\n".encode())
    assert client.answer().body == b"{}"
    client.says(f"HEAD {path} HTTP/1.1\r\nHost: api\r\n\r\n".encode())
    answer = client.answer("HEAD")
    assert answer.header("content-length") == "2"
    assert [outcome_of(each) for each in talk.observed.records] == [("none", "permit", "none")] * 2
    client.says(f"POST {path} HTTP/1.1\r\nHost: api\r\n\r\n".encode())
    assert [head.method for head in talk.gate.asked] == ["POST"]


def test_short_memory_is_taken_from_strangers_who_hold_much_of_it(talk: Conversation) -> None:
    """Requests that wait for their turn, and content that waits for the API; nobody else is touched."""
    talk.gate.refuse("/refused", Reason.CREDENTIALS_MISSING)
    talk.ponders("/slow")
    idle, pipelining, uploading, modest = [talk.client() for _ in range(4)]
    pipelining.transport.arrive(seal(DATA, b"GET /refused HTTP/1.1\r\nHost: a\r\n\r\n" * 300) * 10)
    head = b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    uploading.transport.arrive(seal(DATA, head + b"x" * 60_000))
    modest.transport.arrive(seal(DATA, head + b"x" * 1000))
    for _ in range(5):
        talk.loop.run_once()
    talk.server.relieve()
    talk.loop.settle()
    lost = {one for one in (idle, pipelining, uploading, modest) if one.transport.is_lost}
    assert lost == {pipelining, uploading}
    (given_up,) = [detail for name, detail in talk.observed.incidents if name == "connections_given_up"]
    assert given_up.startswith("2 connections")
    talk.server.relieve()
    assert talk.server.connections == 2


def test_short_memory_is_taken_from_strangers_who_read_no_answers(talk: Conversation) -> None:
    """Their requests come in small pieces, so that what fills memory is what they are told."""
    talk.gate.refuse("/refused", Reason.CREDENTIALS_MISSING)
    greedy, slow, modest = [talk.client() for _ in range(3)]
    for one in (greedy, slow):
        one.stops_reading()
        while one.is_read:
            one.says(b"GET /refused HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
    modest.stops_reading()
    modest.says(b"GET /refused HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.server.relieve()
    talk.loop.settle()
    assert not greedy.transport.is_lost, "it may be about to read on"
    slow.reads()
    talk.later(1)
    talk.server.relieve()
    talk.loop.settle()
    assert [one.transport.is_lost for one in (greedy, slow, modest)] == [True, False, False]


def test_what_strangers_send_at_once_is_bounded_for_all_of_them_together(talk: Conversation) -> None:
    """One read brings more than a turn processes; whoever was permitted, and whoever has little waiting, stays."""
    talk.ponders("/slow")
    slow = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    known = talk.client()
    known.says(GET)
    talk.upstream().says(EMPTY)
    known.transport.arrive(seal(DATA, slow) + seal(DATA, slow * 400) * 8)
    crowd = [talk.client() for _ in range(700)]
    for one in crowd:
        one.transport.arrive(seal(DATA, slow) + seal(DATA, slow * 400) * 8)
    modest = talk.client()
    modest.says(slow)
    talk.loop.settle()
    assert talk.server.backlog.count <= 33 << 20
    assert sum(one.is_closed for one in crowd) > 100
    assert not known.is_closed
    assert not modest.is_closed
    for one in crowd:
        one.transport.reset()
    talk.loop.settle()
    known.transport.reset()
    talk.loop.settle()
    assert talk.server.backlog.count == 0


def test_short_memory_is_not_taken_from_a_client_with_a_permitted_token(talk: Conversation) -> None:
    talk.ponders("/slow")
    client = talk.client()
    client.says(GET)
    talk.upstream().says(EMPTY)
    client.sends(
        seal(DATA, b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)
    )
    talk.server.relieve()
    talk.decide("/slow")
    talk.upstreams[0].says(EMPTY)
    assert client.statuses() == [200, 200]
