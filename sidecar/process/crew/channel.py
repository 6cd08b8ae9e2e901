"""The wire between a supervisor and one worker: a socket pair only they hold.

The supervisor asks with pickles, because a configuration is more than JSON can say; the worker answers in JSON, because
it faces the network and the supervisor must not have to trust what it says beyond that. Each message has its length in
front.
"""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sidecar.process.reload.loader import pickled, unpickled

_LENGTH = struct.Struct("!I")
LONGEST = 64 << 20
"""Bytes of one message."""


class ChannelClosed(Exception):
    """The other side is gone."""


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > LONGEST:
            raise ChannelClosed("a message longer than any should be")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        raise ChannelClosed("closed") from None


def _framed(message: bytes) -> bytes:
    return _LENGTH.pack(len(message)) + message


class AskingEnd:
    """The supervisor's end: asks, and awaits the answers, which may come in any order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next = 0
        self.heard_at = time.monotonic()
        """The time of the worker's last message: its event loop ran then."""

    @classmethod
    async def over(cls, end: socket.socket) -> "AskingEnd":
        """Makes the asking end from one end of a socket pair."""
        return cls(*await asyncio.open_connection(sock=end))

    async def ask(self, method: str, argument: Any = None, within: float = 5.0) -> Any:
        """The worker's answer. Raises `ChannelClosed`, TimeoutError, or RuntimeError with what the worker said."""
        self._next += 1
        number = self._next
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(_framed(pickled((number, method, argument))))
            answer = await asyncio.wait_for(future, within)
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    async def run(self) -> None:
        """Read answers until the worker is gone; then every question fails with `ChannelClosed`."""
        try:
            while True:
                answer = json.loads(await _read(self._reader))
                self.heard_at = time.monotonic()
                waiting = self._waiting.get(answer["number"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except (ChannelClosed, ValueError, KeyError, TypeError):
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ChannelClosed("the worker is gone"))
        finally:
            self._writer.close()


Answer = Callable[[str, Any], Awaitable[Any]]
"""Method and argument → JSON; raises ValueError with one line for the caller."""


async def answer_all(end: socket.socket, answer: Answer) -> None:
    """The worker's end: answers until the supervisor is gone."""
    reader, writer = await asyncio.open_connection(sock=end)
    try:
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    number, method, argument = _question(await _read(reader))
                except ChannelClosed:
                    break
                tasks.create_task(_answered(writer, number, answer(method, argument)))
    finally:
        writer.close()


def _question(message: bytes) -> tuple[int, str, Any]:
    found: tuple[int, str, Any] = unpickled(message)
    return found


async def _answered(writer: asyncio.StreamWriter, number: int, answer: Awaitable[Any]) -> None:
    try:
        said = json.dumps({"number": number, "result": await answer})
    except ValueError as error:
        said = json.dumps({"number": number, "error": str(error)})
    except Exception as error:  # noqa: BLE001 — one question's bug must not end a worker that serves
        said = json.dumps({"number": number, "error": f"the worker failed at it: {type(error).__name__}"})
    writer.write(_framed(said.encode()))
