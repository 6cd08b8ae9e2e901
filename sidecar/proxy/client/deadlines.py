"""What becomes of a connection when time passes. Asked for each connection a few times a second, so that no request
costs a timer.
"""

from sidecar.decision.denial import Reason
from sidecar.http.message import Fault
from sidecar.proxy.client.connection import ClientConnection
from sidecar.proxy.client.link import NEVER, Phase

IDLE_GRACE = 1.0
"""Seconds an idle connection that has to end may live on: a request may be on its way."""


def check(connection: ClientConnection, now: float, wall: float) -> None:
    """Act on what is overdue. `now` is monotonic, `wall` seconds since the epoch."""
    timeouts, exchange = connection.server.settings.timeouts, connection.exchange
    if timeouts.connection_age and now - connection.since >= timeouts.connection_age:
        connection.retire(IDLE_GRACE)
    if now - connection.blocked_since > timeouts.write:
        connection.abort()
        return
    if exchange is not None:
        if exchange.valid_until + timeouts.expiry_grace <= wall:
            is_certificate = connection.certificate_until <= exchange.valid_until
            exchange.authority_ended("certificate_expired" if is_certificate else "token_expired")
        elif connection.body_is_slow(now):
            exchange.fail(Reason.REQUEST_TIMEOUT, "the request body comes too slowly")
    if connection.is_past_total(now):
        _overdue(connection, in_total=True)
    elif now >= connection.deadline and connection.blocked_since == NEVER:
        _overdue(connection, in_total=False)


def _overdue(connection: ClientConnection, *, in_total: bool) -> None:
    exchange, phase = connection.exchange, connection.phase
    if exchange is not None:
        if exchange.tunnel is not None:
            exchange.tunnel.end("timeout")
        else:
            exchange.timed_out(in_total=in_total)
    elif phase is Phase.HEAD:
        connection.answer_fault(Fault(Reason.REQUEST_TIMEOUT, "the request head took too long"))
    elif phase is Phase.IDLE:
        connection.close()
    else:
        if phase in (Phase.HANDSHAKE, Phase.PREFACE):
            connection.server.observer.handshake("timeout", connection.peer[0])
        connection.abort()
