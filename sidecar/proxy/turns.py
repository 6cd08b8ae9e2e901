"""Queues for connections that need more than one turn of the event loop.

Theory of operation. In each turn the loop serves all sockets with new data, and then one of the queued calls: a part
of the data that arrived at once, or a handshake, which costs as much as many requests. However long the queue is, a
new request waits behind at most one of them.

A connection whose last requests were all refused or cancelled uses a second queue for each request. However many such
connections there are, each turn answers one of their requests, and they do not delay the first queue. A connection
that is alone in this does not wait, because no other needs its turn.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 16
"""Consecutive requests without an answer of the API after which a connection uses the second queue. A client with an
expired token, or one that has to fetch a nonce, is served well before that.
"""

Call = Callable[[], object]


class Turns:
    """First in, first out; one call in each turn of the event loop."""

    __slots__ = ("_call_soon", "_waiting")

    def __init__(self, call_soon: Callable[[Call], object]) -> None:
        """`call_soon` is that of the event loop."""
        self._call_soon = call_soon
        self._waiting: deque[Call] = deque()
        """Queued calls; the loop calls `_next` while there are any."""

    @property
    def is_awaited(self) -> bool:
        """Whether a call is queued."""
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
