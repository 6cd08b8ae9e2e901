"""Any conversation, however it is split, delayed, broken off or mutated: the same meaning or a refusal.

Whatever happens, the upstream sees no more requests than were permitted, each of them well-formed and one that was
permitted; each decision has exactly one audit record; places of a rule are left; and nothing of ours breaks
(`Conversation` sees to that).
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.decision.permit import Permit
from sidecar.decision.policy import RuleLimits
from sidecar.proxy.configuration import Limits
from tests.support.conversation import Client, Conversation, Upstream
from tests.support.recorder import Seen
from tests.support.records import RULE
from tests.support.tls_client import Truncated, chunked

pytestmark = pytest.mark.timeout(300)  # hundreds of conversations each, under coverage too

LIMITS = Limits(buffered_bytes=2000, body_bytes=400, header_bytes=500, headers=6, trailer_bytes=40)
EXAMPLES = 60


@dataclass
class Outcome:
    """What each side made of it."""

    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    broken_off: bool = False


# --- requests, well-formed ones

TARGETS = st.sampled_from(["/a", "/b?c=d", "/refused", "/e%20f", "*"])
NAMES = st.sampled_from(
    ["X-One", "Accept", "Cookie", "X-Auth-Subject", "X_Two", "Connection", "TE", "Via", "Expect"]
)
VALUES = st.sampled_from(["1", "", "a, b", "X-One", "keep-alive", "100-continue", "x" * 300])
BODIES = st.binary(max_size=600)


def message(method: str, target: str, fields: Iterable[tuple[str, str]], framing: str, body: bytes) -> bytes:
    if target == "*":
        method = "OPTIONS"
    lines = [f"{method} {target} HTTP/1.1", "Host: api", *(f"{name}: {value}" for name, value in fields)]
    tail = b""
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
        tail = body
    elif framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        middle = len(body) // 2
        tail = chunked(*filter(None, (body[:middle], body[middle:])), trailers={"X-Sum": "1"})
    return "\r\n".join([*lines, "", ""]).encode() + tail


MESSAGES = st.builds(
    message,
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"]),
    TARGETS,
    st.lists(st.tuples(NAMES, VALUES), max_size=3),
    st.sampled_from(["none", "length", "chunked"]),
    BODIES,
)
STREAMS = st.lists(MESSAGES, min_size=1, max_size=4).map(b"".join)


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`data` cut at each of `cuts` (taken modulo its length)."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


# --- the other side


def answer_to(seen: Seen) -> bytes:
    """A response that depends on the request, in one of several framings."""
    if seen.method == "HEAD":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
    if seen.method == "PUT":
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    if seen.method == "POST":
        return (
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunked(b"made")
        )
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scene:
    """A conversation with an upstream that answers each whole request."""

    def __init__(self, talk: Conversation) -> None:
        self.talk = talk
        self.outcome = Outcome()
        self.ids: Counter[str] = Counter()
        talk.gate.refuse("/refused")
        narrow = replace(RULE, name="narrow", limits=RuleLimits(concurrent_requests=1))
        talk.gate.verdicts["/b"] = talk.gate.permit(rule=narrow)

    def answer_all(self, respond: Callable[[Upstream, Seen], None]) -> None:
        """The upstream answers whatever requests are whole by now, until there are no more."""
        busy = True
        while busy:
            busy = False
            for upstream in self.talk.upstreams:
                try:
                    seen = upstream.request()
                except Truncated:
                    continue
                if seen is not None:
                    busy = True
                    self.outcome.seen.append((seen.method, seen.target, seen.body))
                    self.ids.update(seen.all("x-request-id"))
                    respond(upstream, seen)

    def check(self) -> None:
        """What holds of every conversation."""
        talk, outcome = self.talk, self.outcome
        permitted = [record for record in talk.observed.records if isinstance(record.decision, Permit)]
        decided = [record for record in talk.observed.records if record.decision is not None]
        under_way = sum(connection.is_busy for connection in talk.server._connections)
        assert talk.server.occupancy.taken().get("narrow", 0) <= min(1, under_way)
        assert len(self.ids) <= talk.gate.permitted
        assert self.ids.total() == len(outcome.seen)
        assert all(count <= 2 for count in self.ids.values()), "one retry at most, on a stale connection"
        assert len(decided) + under_way >= len(talk.gate.asked) >= len(decided) >= len(permitted)
        asked = {head.target for head in talk.gate.asked}
        assert {target for _, target, _ in outcome.seen} <= asked - {"/refused"}


def says_it(upstream: Upstream, seen: Seen) -> None:
    upstream.says(answer_to(seen))


def statuses(client: Client, methods: list[str]) -> list[int]:
    """The status of each answer; the last may be cut."""
    found = []
    for method in methods:
        try:
            found.append(client.answer(method).status)
        except Truncated:
            break
    return found


def play(parts: list[bytes], delay: float = 0.0) -> Outcome:
    with Conversation(limits=LIMITS) as talk:
        scene = Scene(talk)
        client = talk.client()
        for part in parts:
            client.says(part)
            scene.answer_all(says_it)
            if delay:
                talk.later(delay)
                scene.answer_all(says_it)
        scene.check()
        methods = [record.method for record in talk.observed.records]
        scene.outcome.statuses = statuses(client, methods)
        scene.outcome.broken_off = client.is_closed or client.got_goodbye
        return scene.outcome


def assert_same(one: Outcome, other: Outcome) -> None:
    """Both mean the same; or one goes on where the other refused a body that was not there yet, and closed."""
    short, long = sorted((one, other), key=lambda outcome: len(outcome.statuses))
    assert short.seen == long.seen[: len(short.seen)]
    assert short.statuses == long.statuses[: len(short.statuses)]
    assert short.statuses == long.statuses or short.broken_off
    assert len(short.seen) == len(long.seen) or short.broken_off


@settings(max_examples=EXAMPLES, deadline=None)
@given(STREAMS, CUTS)
def test_stream_cut_anywhere_means_the_same(stream: bytes, cuts: list[int]) -> None:
    assert_same(play(pieces(stream, cuts)), play([stream]))


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(STREAMS, CUTS, st.floats(0.01, 0.5))
def test_stream_that_takes_its_time_means_the_same(stream: bytes, cuts: list[int], delay: float) -> None:
    assert_same(play(pieces(stream, cuts), delay), play([stream]))


# --- mutations

MUTATION = st.tuples(
    st.sampled_from(["delete", "insert", "replace", "repeat", "swap"]),
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.binary(min_size=1, max_size=6)
    | st.sampled_from(
        [
            b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b",", b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: 5\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n", b"Connection: close\r\n",
            b"GET /refused HTTP/1.1\r\nHost: api\r\n\r\n", b"HTTP/1.0", b"Host: b\r\n", b"Expect: 100-continue\r\n",
        ]
    ),
)  # fmt: skip


def mutated(data: bytes, mutations: list[tuple[str, int, int, bytes]]) -> bytes:
    for kind, place, size, extra in mutations:
        start = place % (len(data) + 1)
        end = min(len(data), start + size)
        middle = {
            "delete": b"",
            "insert": extra + data[start:end],
            "replace": extra,
            "repeat": data[start:end] * 2,
            "swap": data[start:end][::-1],
        }[kind]
        data = data[:start] + middle + data[end:]
    return data


MUTATIONS = st.lists(MUTATION, min_size=1, max_size=4)


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(STREAMS, MUTATIONS, CUTS)
def test_mutated_stream_is_understood_or_refused(
    stream: bytes, mutations: list[tuple[str, int, int, bytes]], cuts: list[int]
) -> None:
    data = mutated(stream, mutations)
    one, other = sorted((play(pieces(data, cuts)), play([data])), key=lambda outcome: len(outcome.seen))
    # What is wrong may show before or after the refusal of what is right, so the statuses may differ.
    assert one.seen == other.seen[: len(one.seen)]
    assert len(one.seen) == len(other.seen) or one.broken_off


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(st.sampled_from(["GET", "HEAD", "PUT", "POST"]), MUTATIONS, CUTS, st.booleans())
def test_mutated_response_is_understood_or_refused_or_cut(
    method: str, mutations: list[tuple[str, int, int, bytes]], cuts: list[int], leaves: bool
) -> None:
    request = f"{method} /a HTTP/1.1\r\nHost: api\r\n\r\n".encode()
    with Conversation(limits=LIMITS) as talk:
        scene = Scene(talk)

        def respond(upstream: Upstream, seen: Seen) -> None:
            upstream.says(*pieces(mutated(answer_to(seen), mutations), cuts))

        client = talk.client()
        client.says(request)
        scene.answer_all(respond)
        if leaves:
            talk.upstreams[0].leaves()
        talk.later(400)
        scene.check()
        heard = statuses(client, [method])
        assert heard or client.was_cut
        assert len(talk.observed.records) == 1
        client.says(request)
        assert len(statuses(client, [method])) == 0 or client.is_closed or len(talk.gate.asked) == 2


# --- anything at any time

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["say", "say", "say", "answer", "answer", "half-answer", "wait", "stop", "read", "leave", "end", "reset",
             "upstream leaves", "upstream resets", "upstream stops", "upstream reads", "down", "up", "drain"]
        ),
        st.integers(0, 1000),
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(STREAMS, ACTIONS)
def test_anything_may_happen_at_any_time(stream: bytes, actions: list[tuple[str, int]]) -> None:
    with Conversation(limits=LIMITS) as talk:
        scene = Scene(talk)
        clients = [talk.client(), talk.client()]
        rest = [stream, stream]
        for action, number in actions:
            which = number % 2
            act(scene, clients[which], action, number)
            if action == "say":
                size = 1 + number
                clients[which].says(rest[which][:size])
                rest[which] = rest[which][size:]
            scene.check()
        for client in clients:
            client.reads()
        talk.later(500)
        scene.answer_all(says_it)
        scene.check()
        assert talk.server.exchanges == 0
        assert all(client.transport.most_buffered < 20_000 for client in clients)


def act(scene: Scene, client: Client, action: str, number: int) -> None:
    """One thing that happens."""
    talk = scene.talk
    upstream = talk.upstreams[number % len(talk.upstreams)] if talk.upstreams else None
    match action:
        case "answer":
            scene.answer_all(says_it)
        case "half-answer":
            scene.answer_all(lambda upstream, seen: upstream.says(answer_to(seen)[: number % 60]))
        case "wait":
            talk.later(number / 20)
        case "stop":
            client.stops_reading()
        case "read":
            client.reads(number * 5)
        case "leave":
            client.leaves()
        case "end":
            client.says_no_more()
        case "reset":
            client.resets()
        case "down" | "up":
            talk.reachable = {"down": False, "up": True}[action]
        case "drain" if number > 900:
            talk.server.begin_drain()
    if upstream is not None and action.startswith("upstream "):
        {
            "leaves": upstream.leaves,
            "resets": upstream.resets,
            "stops": upstream.stops_reading,
            "reads": upstream.reads,
        }[action.removeprefix("upstream ")]()
