"""Counts connections by address, and chooses connections to close if there are no free slots.

Theory of operation. One address could open all connections and send nothing on them. If all slots are taken, the
address with the most idle connections without a permitted token loses some of them, the oldest first. A new
connection is kept, because its first request may be on its way. The search takes time in proportion to the number of
connections, so it frees several slots at once, at most once per interval.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sidecar.decision.request import address_source

if TYPE_CHECKING:
    from sidecar.proxy.client.connection import ClientConnection

_MOMENT: Final = 1.0
"""Seconds during which a new connection is not closed."""
_PAUSE: Final = 0.01
"""Seconds between two searches through all connections."""
_HOARD: Final = 16_384
"""Bytes waiting on one connection that are more than the head of a request."""
_SHARE: Final = 8
"""Divisor: one search closes this share of an address's connections, at least one and at most `_BATCH`."""
_BATCH: Final = 64


class Admission:
    """Connections by address."""

    __slots__ = ("_counts", "_looked_at")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        """Addresses without a connection have no entry."""
        self._looked_at = float("-inf")

    def enter(self, connection: "ClientConnection", limit: int) -> bool:
        """Count a connection whose address is now known; returns whether it may stay. `limit` of 0: none."""
        source = address_source(connection.peer[0])
        count = self._counts.get(source, 0)
        if limit and count >= limit:
            return False
        connection.counted_as = source
        self._counts[source] = count + 1
        return True

    def leave(self, connection: "ClientConnection") -> None:
        """A connection was closed."""
        source = connection.counted_as
        if source is not None:
            connection.counted_as = None
            left = self._counts[source] - 1
            if left:
                self._counts[source] = left
            else:
                del self._counts[source]

    def dispensable(self, connections: Iterable["ClientConnection"], now: float) -> list["ClientConnection"]:
        """The connections to close for others, possibly none; `connections` with the oldest first."""
        if now - self._looked_at < _PAUSE:
            return []
        self._looked_at = now
        strangers: dict[str | None, list[ClientConnection]] = {}
        for connection in connections:
            if not connection.is_busy and not connection.was_permitted and now - connection.since >= _MOMENT:
                strangers.setdefault(connection.counted_as, []).append(connection)
        most = max(strangers.values(), key=len, default=[])
        return most[: max(1, min(_BATCH, len(most) // _SHARE))]

    @staticmethod
    def hoards(connections: Iterable["ClientConnection"]) -> list["ClientConnection"]:
        """The connections that hold much memory and on which no request with a token was permitted."""
        return [one for one in connections if not one.was_permitted and one.held_bytes > _HOARD]
