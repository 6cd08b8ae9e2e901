"""What becomes of a connection when time passes. Asked for each connection a few times a second, so that no request
costs a timer.
"""

from sidecar.proxy.client.connection import ClientConnection
from sidecar.proxy.configuration import Timeouts
from sidecar.proxy.exchange.stream import NEVER

IDLE_GRACE = 1.0
"""Seconds an idle connection that has to end may live on: a request may be on its way."""


def check(connection: ClientConnection, now: float, wall: float, timeouts: Timeouts) -> None:
    """Act on what is overdue. `now` is monotonic, `wall` seconds since the epoch."""
    link, wire = connection.link, connection.wire
    if timeouts.connection_age and wire is not None and now - connection.since >= timeouts.connection_age:
        wire.retire(IDLE_GRACE)
    elif wire is not None and wire.hop is not None and wall >= wire.hop.until:
        wire.retire(IDLE_GRACE)  # the proxy's own certificate has ended: it comes back with another
    if now - link.blocked_since > timeouts.write:
        link.abort()
    elif wire is None or link.is_ending:
        if now >= link.deadline and link.blocked_since == NEVER:
            connection.expire()
    else:
        wire.check(now, wall, timeouts)
