"""One connection to a server of the Redis protocol (RESP2): commands in, one reply each, in order.

Redis and Valkey speak it alike. Of the protocol only what the commands here can be answered with is understood: simple
strings, errors, integers, and short bulk strings. Anything else ends the connection, and so does a reply to nothing.
"""

import asyncio
from collections import deque
from typing import Final, cast

LONGEST_LINE: Final = 4096
"""Bytes of a reply. `SET … NX` is answered with `+OK` or `$-1`."""

Reply = str | int | None


class RedisError(Exception):
    """The server is unreachable, or it refused. The message has no secret: it is our own text, or an error's name."""


class RedisConnection(asyncio.Protocol):
    """Pipelined: each command goes out at once, and its reply is the next one."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, asyncio.Future[Reply]]] = deque()
        """Time and waiter of each open command; the oldest first."""
        self._received = b""
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is lost: all waiters get an error."""
        self.is_open = False
        while self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(RedisError("the connection was lost"))

    def data_received(self, data: bytes) -> None:
        """Replies, whole or in part."""
        self._received += data
        while True:
            line, end, rest = self._received.partition(b"\r\n")
            if not end:
                if len(line) > LONGEST_LINE:
                    self.close()
                return
            if line[:1] == b"$" and line != b"$-1":
                size = int(line[1:]) if line[1:].isdigit() else LONGEST_LINE + 1
                if size > LONGEST_LINE:
                    self.close()
                    return
                if len(rest) < size + 2:
                    return
                self._received = rest[size + 2 :]
                self._answer(rest[:size].decode("utf-8", "replace"))
            else:
                self._received = rest
                self._simple(line)

    def _simple(self, line: bytes) -> None:
        kind, text = line[:1], line[1:].decode("utf-8", "replace")
        if kind == b"+":
            self._answer(text)
        elif kind == b"-":
            # Only the first word: the rest may repeat what was sent.
            self._answer(RedisError(f"the server said {text.split(' ')[0][:32]}"))
        elif kind == b":" and text.lstrip("-").isdigit():
            self._answer(int(text))
        elif line == b"$-1":
            self._answer(None)
        else:
            self.close()

    def _answer(self, reply: Reply | RedisError) -> None:
        if not self._waiting:
            self.close()
            return
        _, waiter = self._waiting.popleft()
        if waiter.done():  # nobody waits any more
            return
        if isinstance(reply, RedisError):
            waiter.set_exception(reply)
        else:
            waiter.set_result(reply)

    def is_usable(self, patience: float) -> bool:
        """Whether it is open, and no command has waited for `patience` seconds or more."""
        if not self.is_open or not self._waiting:
            return self.is_open
        return asyncio.get_running_loop().time() - self._waiting[0][0] < patience

    def send(self, *words: str) -> "asyncio.Future[Reply]":
        """Send a command; its reply. Raises `RedisError` when the connection is gone."""
        if self._transport is None or not self.is_open:
            raise RedisError("the connection was lost")
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            data = word.encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Reply] = loop.create_future()
        self._waiting.append((loop.time(), waiter))
        self._transport.write(b"".join(parts))
        return waiter

    def close(self) -> None:
        """Close it; all waiters get an error."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()
