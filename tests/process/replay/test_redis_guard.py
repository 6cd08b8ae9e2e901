"""Used proofs in a real server of the Redis protocol."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from sidecar.decision.proof import Claim
from sidecar.decision.replay import ReplayMemory, ReplayUnknown
from sidecar.process.replay import redis_guard
from sidecar.process.replay.guards import Guards
from sidecar.process.replay.redis_connection import RedisConnection, RedisError
from sidecar.process.replay.redis_guard import RedisGuard
from sidecar.settings.configuration import DpopSettings
from sidecar.settings.redis_place import RedisPlace
from tests.support.memory_transport import MemoryTransport
from tests.support.pki import Pki
from tests.support.redis import RedisServer

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def claim(jti: str, key: bytes = b"k" * 32, lifetime: float = 90) -> Claim:
    return Claim(key, jti, 1000, lifetime)


async def closed(*guards: RedisGuard) -> None:
    """Ended, and let go by the loop."""
    for one in guards:
        one.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def guard(server: RedisServer, url: str | None = None, *, accepts: bool = False) -> RedisGuard:
    return RedisGuard(RedisPlace.parse(url or server.url), accepts=accepts)


def test_of_many_at_once_over_two_processes_connections_one_is_first(redis: RedisServer) -> None:
    async def play() -> list[bool]:
        guards = [guard(redis), guard(redis)]
        answers = await asyncio.gather(*(guards[at % 2].claim(claim("many")) for at in range(200)))
        await closed(*guards)
        return answers

    assert asyncio.run(play()).count(True) == 1


def test_another_key_another_jti_and_what_has_ended_are_new(redis: RedisServer) -> None:
    async def play() -> list[bool]:
        one = guard(redis)
        answers = [
            await one.claim(claim("a")), await one.claim(claim("a")), await one.claim(claim("b")),
            await one.claim(claim("a", b"x" * 32)), await one.claim(claim("\ud800")),
        ]  # fmt: skip
        connection = await one._connected()
        remaining = [await connection.send("PTTL", key) for key in ("none",)]
        assert remaining == [-2]
        await closed(one)
        return answers

    assert asyncio.run(play()) == [True, False, True, True, True]


def test_server_that_is_gone_is_503_and_back_when_it_is_back(tmp_path: Path) -> None:
    async def play() -> None:
        with RedisServer(tmp_path) as server:
            one, lax = guard(server), guard(server, accepts=True)
            assert await one.claim(claim("a"))
            await asyncio.to_thread(server.stop)
            with pytest.raises(ReplayUnknown):
                await one.claim(claim("b"))
            assert await lax.claim(claim("b"))
            await asyncio.to_thread(server.start)
            assert await one.claim(claim("b"))
            assert not await one.claim(claim("b"))
            await closed(one, lax)

    asyncio.run(play())


def test_server_is_asked_over_tls_only_if_it_is_the_one_that_the_authority_vouches_for(
    tmp_path: Path, pki: Pki
) -> None:
    """Password and authority come from files; what is claimed over TLS is claimed for who asks without."""
    url, authority, other = (tmp_path / name for name in ("url", "ca.crt", "other.crt"))
    authority.write_bytes(pki.server_authority.pem)
    other.write_bytes(pki.client_authority.pem)

    async def play() -> None:
        with RedisServer(tmp_path, pki.server) as server:
            url.write_text(server.url + "\n")
            trusting = made(DpopSettings(replay_url_file=url, replay_ca_file=authority))
            assert await trusting.claim(claim("t"))
            assert not await trusting.claim(claim("t"))
            stranger = made(DpopSettings(replay_url_file=url, replay_ca_file=other))
            url.write_text(server.url.replace("localhost", "127.0.0.2"))
            elsewhere = made(DpopSettings(replay_url_file=url, replay_ca_file=authority))
            url.write_text(server.url.replace("rediss:", "redis:"))
            in_clear = made(DpopSettings(replay_url_file=url))
            for refusing in (stranger, elsewhere, in_clear):
                with pytest.raises(ReplayUnknown):
                    await refusing.claim(claim("u"))
            await closed(trusting, stranger, elsewhere, in_clear)

    asyncio.run(play())


def made(settings: DpopSettings) -> RedisGuard:
    """As a configuration asks for it."""
    found = Guards(ReplayMemory(b"key", lambda: 0.0)).guard(settings)
    assert isinstance(found, RedisGuard)
    return found


@pytest.mark.parametrize("credentials", ["", ":wrong@", "nobody:wrong@"])
def test_server_that_does_not_know_us_is_503_and_nothing_leaks(redis: RedisServer, credentials: str) -> None:
    async def play() -> None:
        one = guard(redis, f"redis://{credentials}127.0.0.1:{redis.port}")
        with pytest.raises(ReplayUnknown) as caught:
            await one.claim(claim("c"))
        await closed(one)
        assert "wrong" not in caught.value.why

    asyncio.run(play())


@pytest.mark.parametrize(
    "host", [f"{'a' * 64}.example", "a\x00b"], ids=["label over 63 bytes", "a null character"]
)
def test_place_that_cannot_even_be_asked_is_503(host: str) -> None:
    """Errors that are no `OSError`: whatever the store fails with, no proof passes and nothing is called a bug."""
    place = RedisPlace(host, 6379, 0, is_tls=False, username=None, password=None)
    with pytest.raises(ReplayUnknown, match="out of reach"):
        asyncio.run(RedisGuard(place).claim(claim("e")))


@pytest.mark.parametrize(("accepts", "name"), [(True, "replay_unknown_accepted"), (False, "replay_unknown")])
def test_failure_is_told_whether_or_not_the_proof_passes(name: str, *, accepts: bool) -> None:
    told: list[tuple[str, str]] = []
    place = RedisPlace("a\x00b", 6379, 0, is_tls=False, username=None, password=None)
    one = RedisGuard(place, accepts=accepts, incident=lambda *said: told.append(said))
    if accepts:
        assert asyncio.run(one.claim(claim("f")))
    else:
        with pytest.raises(ReplayUnknown):
            asyncio.run(one.claim(claim("f")))
    assert told == [(name, "out of reach")]


@pytest.mark.usefixtures("real_deadline")
def test_server_that_says_nothing_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = RedisPlace.parse(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        one = RedisGuard(place)

        async def play() -> None:
            with pytest.raises(ReplayUnknown, match="in time"):
                await one.claim(claim("d"))
            await closed(one)

        asyncio.run(play())


class Slow:
    """A server of the Redis protocol that replies to each command when it is told to."""

    def __init__(self) -> None:
        self.connections: list[asyncio.Transport] = []
        self.commands = 0

    async def serve(self) -> RedisPlace:
        self.server = await asyncio.get_running_loop().create_server(lambda: SlowWire(self), "127.0.0.1", 0)
        return RedisPlace.parse(f"redis://127.0.0.1:{self.server.sockets[0].getsockname()[1]}")

    def reply(self, times: int, connection: int = 0) -> None:
        self.connections[connection].write(b"+OK\r\n" * times)

    async def asked(self, times: int) -> None:
        while self.commands < times:
            await asyncio.sleep(0)

    def close(self) -> None:
        self.server.close()
        for one in self.connections:
            one.abort()


class SlowWire(asyncio.Protocol):
    def __init__(self, slow: Slow) -> None:
        self.slow = slow

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.slow.connections.append(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self.slow.commands += data.count(b"SET")


async def connected(slow: Slow) -> RedisGuard:
    """One that has its connection and waits for nothing: what comes next is sent in the turn in which it is claimed."""
    one = RedisGuard(await slow.serve())
    first = asyncio.create_task(one.claim(claim("first")))
    await slow.asked(1)
    slow.reply(1)
    assert await first
    return one


def test_one_slow_reply_is_the_loss_of_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited too long is refused; who asked later on the same connection gets the reply that is theirs."""

    async def play() -> None:
        slow = Slow()
        one = await connected(slow)
        with monkeypatch.context() as short:
            short.setattr(redis_guard, "DEADLINE", 0.05)
            late = asyncio.create_task(one.claim(claim("a")))
            await asyncio.sleep(0)
        second = asyncio.create_task(one.claim(claim("b")))
        with pytest.raises(ReplayUnknown, match="in time"):
            await late
        await slow.asked(3)
        assert not second.done()
        slow.reply(2)
        assert await second
        third = asyncio.create_task(one.claim(claim("c")))
        await slow.asked(4)
        slow.reply(1)
        assert await third
        assert len(slow.connections) == 1
        slow.close()
        await closed(one)

    monkeypatch.setattr(redis_guard, "PATIENCE", 60.0)
    asyncio.run(play())


def test_connection_that_owes_a_reply_for_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that went away without a word does not refuse all for as long as the kernel waits for it."""
    monkeypatch.setattr(redis_guard, "PATIENCE", 0.0)

    async def play() -> None:
        slow = Slow()
        one = await connected(slow)
        with monkeypatch.context() as short:
            short.setattr(redis_guard, "DEADLINE", 0.05)
            with pytest.raises(ReplayUnknown, match="in time"):
                await one.claim(claim("a"))
        again = asyncio.create_task(one.claim(claim("a")))
        await slow.asked(3)
        slow.reply(1, connection=1)
        assert await again
        slow.close()
        await closed(one)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        (b"+OK\r\n", "OK"), (b"$-1\r\n", None), (b":7\r\n", 7), (b"$2\r\nab\r\n", "ab"), (b"-ERR no\r\n", RedisError),
        (b"*1\r\n", RedisError), (b"$99999\r\n", RedisError), (b"$x\r\n", RedisError), (b"x" * 5000, RedisError),
        (b":x\r\n", RedisError), (b"\r\n", RedisError),
    ],
)  # fmt: skip
def test_reply_is_read_byte_by_byte_or_refused(said: bytes, reply: object) -> None:
    async def play() -> object:
        connection = RedisConnection()
        MemoryTransport(asyncio.get_running_loop(), ("127.0.0.1", 1)).connect(connection)
        waiting = connection.send("PING")
        size = 1 if len(said) < 99 else len(said)
        for at in range(0, len(said), size):
            connection.data_received(said[at : at + size])
        if not connection.is_open:
            connection.connection_lost(None)
        try:
            return await waiting
        except RedisError:
            return RedisError

    assert asyncio.run(play()) == reply


def test_connection_is_kept_while_the_place_stays_the_same(tmp_path: Path, redis: RedisServer) -> None:
    file = tmp_path / "url"
    file.write_text(redis.url)
    memory = ReplayMemory(b"key", lambda: 0.0)
    guards = Guards(memory)
    assert guards.guard(DpopSettings()) is memory
    settings = DpopSettings(replay_url_file=file)
    first = guards.guard(settings)
    assert guards.guard(settings) is first
    file.write_text(redis.url.replace("/1", "/2"))
    second = guards.guard(settings)
    assert second is not first
    file.write_text(f"rediss://127.0.0.1:{redis.port}")
    assert guards.guard(settings) is not second


@pytest.mark.parametrize(
    "url", ["", "http://a", "redis://", "redis://a:x", "redis://a/b", "redis://:secret@a:0"]
)
def test_what_is_no_place_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ValueError, match="is not a URL of the form") as caught:
        RedisPlace.parse(url)
    assert "secret" not in str(caught.value)


def test_place_shows_no_password() -> None:
    place = RedisPlace.parse("rediss://user:p%40ss@redis.example/3")
    assert (place.host, place.port, place.database, place.is_tls) == ("redis.example", 6379, 3, True)
    assert (place.username, place.password) == ("user", "p@ss")
    assert "p@ss" not in repr(place)
