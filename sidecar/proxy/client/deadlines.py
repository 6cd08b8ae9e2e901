"""Applies time limits to client connections. It is called for each connection a few times a second, so that no
request needs a timer.
"""

from typing import Final

from sidecar.proxy.client.connection import ClientConnection
from sidecar.proxy.client.host import IDLE_GRACE
from sidecar.proxy.configuration import Timeouts
from sidecar.proxy.exchange.stream import NEVER

_REST_AFTER: Final = 1.0
"""Seconds without a request after which a connection releases the memory that its requests needed."""


def check(connection: ClientConnection, now: float, wall: float, timeouts: Timeouts) -> None:
    """Act on expired limits. `now` is monotonic seconds, `wall` seconds since the epoch."""
    link, wire = connection.link, connection.wire
    if timeouts.connection_age and wire is not None and now - connection.since >= timeouts.connection_age:
        wire.retire(IDLE_GRACE)
    elif wire is not None and wire.hop is not None and wall >= wire.hop.until:
        wire.retire(IDLE_GRACE)  # the proxy's certificate has expired: it must reconnect with a new one
    if now - link.blocked_since > timeouts.write:
        link.abort()
    elif wire is None or link.is_ending:
        if now >= link.deadline and link.blocked_since == NEVER:
            connection.expire()
    else:
        wire.check(now, wall, timeouts)
        if wire.deadline != connection.rested and now + timeouts.idle - wire.deadline >= _REST_AFTER:
            _rest(connection)


def _rest(connection: ClientConnection) -> None:
    """Release memory once in each idle period."""
    wire = connection.wire
    if (
        wire is None
        or connection.is_busy
        or connection.link.is_ending
        or connection.link.blocked_since != NEVER
    ):
        return
    connection.rested = wire.deadline
    wire.rest()
    wire.presenter.rest()
    if wire.hop is not None:
        wire.hop.rest()
    connection.link.engine.rest()
