"""An event loop whose clock is moved by hand, and which accepts and opens connections in memory only."""

import asyncio
import selectors
import socket
from collections.abc import Callable, Mapping
from typing import Any

Factory = Callable[[], asyncio.BaseProtocol]


class _NoWaiting(selectors.DefaultSelector):
    """Never waits: nothing in here comes from outside."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return []


class Accepting:
    """What `create_server` gives: a port that is listened on."""

    def __init__(self, loop: "VirtualTime", factory: Factory, port: int) -> None:
        self.factory = factory
        self.port = port
        self.sockets = [self]
        self._loop = loop
        self._listening = socket.socket(socket.AF_UNIX)
        """Whose backlog can be set, and which nobody finds: its name is abstract (unix(7))."""
        self._listening.bind("")

    def fileno(self) -> int:
        return self._listening.fileno()

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    def close(self) -> None:
        self._loop.accepting.pop(self.port, None)
        self._listening.close()


class VirtualTime(asyncio.SelectorEventLoop):
    """Runs what is due and returns; time passes only in `pass_time`."""

    def __init__(self) -> None:
        super().__init__(_NoWaiting())
        self._now = 1000.0
        self.accepting: dict[int, Accepting] = {}
        self.faults: list[Mapping[str, Any]] = []
        """What nobody caught."""
        self.set_exception_handler(lambda _loop, context: self.faults.append(context))

    def time(self) -> float:
        return self._now

    async def create_server(self, factory: Factory, *args: Any, **_options: Any) -> Any:  # type: ignore[override]
        # The base class's overloads are wider than what is needed here.
        port = args[1] or 40000 + len(self.accepting)
        self.accepting[port] = Accepting(self, factory, port)
        return self.accepting[port]

    def settle(self) -> None:
        """Run everything that is due now, and what follows from it."""
        while self._ready or self._next() <= self._now:
            self.call_soon(self.stop)
            self.run_forever()

    def run_once(self) -> None:
        """One turn of the loop."""
        self.call_soon(self.stop)
        self.run_forever()

    def pass_time(self, seconds: float) -> None:
        """Let time pass; what falls due runs at its own moment."""
        end = self._now + seconds
        while (moment := self._next()) <= end:
            self._now = max(self._now, moment)
            self.settle()
        self._now = end
        self.settle()

    def skip_time(self, seconds: float) -> None:
        """Let time pass; what is due by then runs when the loop next goes round."""
        self._now += seconds

    def _next(self) -> float:
        return self._scheduled[0].when() if self._scheduled else float("inf")

    # Of the base class, and known to its type only as private.
    _ready: Any
    _scheduled: Any
