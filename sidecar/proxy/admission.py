"""Who holds the slots for connections, by address, and who has to leave when there are none left.

Theory of operation. One address can open all connections there may be and say nothing on any of them. So when the
slots run out, whoever has the most connections that wait idly and never brought a token that was permitted gives some
of them up, the oldest first. A connection of a moment ago stays: its first request may be on its way. That is work in
proportion to the number of connections, so it frees several slots at once, at most once in an interval.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sidecar.decision.request import address_source

if TYPE_CHECKING:
    from sidecar.proxy.client.connection import ClientConnection

_MOMENT: Final = 1.0
"""Seconds in which a new connection is not given up."""
_PAUSE: Final = 0.01
"""Seconds between two looks at all connections."""
_HOARD: Final = 16_384
"""Bytes that wait on one connection and are no head of a request."""
_SHARE: Final = 8
"""One look gives up this part of what an address has, at least one and at most `_BATCH`."""
_BATCH: Final = 64


class Admission:
    """Connections by address."""

    __slots__ = ("_counts", "_looked_at")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        """Never more entries than connections."""
        self._looked_at = float("-inf")

    def enter(self, connection: "ClientConnection", limit: int) -> bool:
        """Count a connection whose address is known now; whether it may stay. `limit` of 0: none."""
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
        """The connections to give up for others, if there are any; `connections` with the oldest first."""
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
        """The connections that hold much, of clients of whom nothing with a token was ever permitted."""
        return [one for one in connections if not one.was_permitted and one.held_bytes > _HOARD]
