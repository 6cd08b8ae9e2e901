"""Who has more to do than one turn of the event loop allows, in line.

Theory of operation. In each turn the loop serves all sockets that have something new, and then one of those that wait
here: a part of what came at once, or a handshake, which costs what many requests cost. However many wait, and whoever
sent them, a request that has just come waits behind one of them at most.

A connection whose last requests were all refused, or taken back, stands in a line of its own, with each request: so
however many ask only for what they do not get, and do not even wait in the first line, each turn answers one of them.
One that is alone in this does not wait: nobody else would have its turn.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 16
"""Requests in a row that are answered without the API before a connection stands in the other line. A client whose
token has ended, or who has to fetch a nonce, is served long before.
"""

Call = Callable[[], object]


class Turns:
    """First come, first served, one in each turn of the event loop."""

    __slots__ = ("_call_soon", "_waiting")

    def __init__(self, call_soon: Callable[[Call], object]) -> None:
        """`call_soon` is the loop's."""
        self._call_soon = call_soon
        self._waiting: deque[Call] = deque()
        """Calls that wait; the loop calls `_next` while there are any."""

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def wait(self, call: Call) -> None:
        """Queue a call."""
        self._waiting.append(call)
        if len(self._waiting) == 1:
            self._call_soon(self._next)

    def _next(self) -> None:
        call = self._waiting.popleft()
        if self._waiting:
            self._call_soon(self._next)
        call()
