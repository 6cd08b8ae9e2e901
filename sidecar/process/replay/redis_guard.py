"""Used proofs in a server of the Redis protocol, for all replicas: one `SET … NX PX` for each proof, one round trip.

Theory of operation: one connection, made with the first claim and again after it was lost. Commands of many requests
are under way on it at a time. A server that does not answer within `DEADLINE` is out of reach, and then no proof
passes, unless the configuration says otherwise. A slow reply fails only the requests that waited too long for it;
a connection that owes a reply for `PATIENCE` gets no new command, and another one is made. What the server holds is a
digest of the proof's key and `jti`: neither a proof nor a name.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import Any, Final

from sidecar.decision.proof import Claim
from sidecar.decision.replay import ReplayGuard, ReplayUnknown
from sidecar.decision.strict import base64url_text
from sidecar.process.replay.redis_connection import RedisConnection, RedisError
from sidecar.settings.redis_place import RedisPlace

DEADLINE: Final = 0.5
"""Seconds for one claim, connecting included."""
PATIENCE: Final = 1.0
"""Seconds for which a connection may owe a reply."""
_PREFIX: Final = "dpop:"


class RedisGuard(ReplayGuard):
    """Asks the server."""

    def __init__(
        self,
        place: RedisPlace,
        tls: ssl.SSLContext | None = None,
        *,
        accepts: bool = False,
        incident: Callable[[str, str], None] | None = None,
    ) -> None:
        """`tls` is for `rediss`. With `accepts` a proof passes when nobody can tell whether it was used.

        `incident` is told the name and the cause of each failure.
        """
        self._incident = incident
        self.place = place
        self._tls = tls
        self._accepts = accepts
        self._connection: RedisConnection | None = None
        self._connecting: asyncio.Task[RedisConnection] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def claim(self, claim: Claim) -> Coroutine[Any, Any, bool]:
        """Raises `ReplayUnknown`."""
        return self._claim(_key(claim), max(1, int(claim.lifetime * 1000) + 1000))

    async def _claim(self, key: str, milliseconds: int) -> bool:
        try:
            async with asyncio.timeout(DEADLINE):
                connection = await self._connected()
                reply = await connection.send("SET", key, "1", "NX", "PX", str(milliseconds))
        except Exception as problem:  # noqa: BLE001 — whatever it is, nobody knows whether the proof was used
            why = "no answer in time" if isinstance(problem, TimeoutError) else "out of reach"
            why = str(problem) if isinstance(problem, RedisError) else why
            if self._incident is not None:
                self._incident("replay_unknown_accepted" if self._accepts else "replay_unknown", why)
            if self._accepts:
                return True
            raise ReplayUnknown(why) from None
        return reply == "OK"

    async def _connected(self) -> RedisConnection:
        """One connection for all who claim; who comes while it is made waits for the same."""
        connection = self._connection
        if connection is not None:
            if connection.is_usable(PATIENCE):
                return connection
            # Requests that still wait there may get their reply: a late one counts.
            asyncio.get_running_loop().call_later(DEADLINE, connection.close)
            self._connection = None
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(_seen)
        # A request that gives up waiting must not cancel it for the others.
        self._connection = await asyncio.shield(self._connecting)
        return self._connection

    async def _connect(self) -> RedisConnection:
        place = self.place
        self._loop = asyncio.get_running_loop()
        async with asyncio.timeout(DEADLINE):
            _, connection = await self._loop.create_connection(
                RedisConnection, place.host, place.port, ssl=self._tls if place.is_tls else None
            )
            try:
                if place.password is not None:
                    names = [place.username] if place.username is not None else []
                    await connection.send("AUTH", *names, place.password)
                if place.database:
                    await connection.send("SELECT", str(place.database))
            except BaseException:
                connection.close()
                raise
            return connection

    def retire(self) -> None:
        """Another guard replaces this one; requests in progress may still claim. May be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.call_later, 2 * DEADLINE, self.close)

    def close(self) -> None:
        """End the connection, from its own loop."""
        if self._connection is not None:
            self._connection.close()


def _key(claim: Claim) -> str:
    digest = blake2b(
        claim.key + claim.token_id.encode("utf-8", "surrogatepass"), digest_size=24, person=b"dpop"
    )
    return _PREFIX + base64url_text(digest.digest())


def _seen(task: "asyncio.Task[RedisConnection]") -> None:
    """Retrieve the error of an attempt for which no request waited, so that asyncio does not report it as lost."""
    if not task.cancelled():
        task.exception()
