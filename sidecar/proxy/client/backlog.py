"""Data that the connections of one server keep for a later turn of the event loop, all together.

One read may bring far more than a turn processes. The process looks at its memory once a second, which is too late if
thousands of connections send that much at once. So the sum is bounded here, at the moment at which it grows.
"""

from collections.abc import Callable
from typing import Final

_MOST: Final = 32 << 20
"""Bytes above which clients of whom nothing was permitted have to leave."""
_STEP: Final = 1 << 20
"""Bytes that have to be added before the connections are looked at again: that takes time for each of them."""


class Backlog:
    """The number of bytes, and what happens when there are too many."""

    __slots__ = ("_limit", "_relieve", "count")

    def __init__(self, relieve: Callable[[], object]) -> None:
        """`relieve` is called when the bound is exceeded; it may act later."""
        self._relieve = relieve
        self._limit = _MOST
        self.count = 0
        """Bytes."""

    def change(self, size: int) -> None:
        """A connection keeps `size` bytes more, or less if it is negative."""
        self.count = count = self.count + size
        if count > self._limit:
            self._limit = count + _STEP
            self._relieve()
        elif size < 0:
            self._limit = max(_MOST, min(self._limit, count + _STEP))
