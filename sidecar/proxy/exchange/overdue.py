"""Ends an exchange whose time is over, or whose client is no longer accepted, whatever its wire."""

from typing import Final

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import Timeouts
from sidecar.proxy.exchange.endpoint_exchange import EndpointExchange
from sidecar.proxy.exchange.exchange import Exchange

_DISTRUSTED: Final = 0.0
"""`valid_until` of an exchange whose client would be refused now."""


def distrust(exchange: Exchange) -> None:
    """The client would be refused now: end as if its certificate had expired. At once, for otherwise a decision that
    is not made yet, or a place in the queue for the upstream, would still come in time.
    """
    exchange.valid_until = _DISTRUSTED
    if not exchange.ending.is_over:
        _authority_ended(exchange, "certificate_expired")


def check(exchange: Exchange, now: float, wall: float, timeouts: Timeouts, *, is_blocked: bool) -> None:
    """Act on expired limits. `now` is monotonic seconds, `wall` seconds since the epoch. `is_blocked`: the client
    does not read and the send buffer is full; that has a time limit of its own.
    """
    stream = exchange.stream
    if exchange.valid_until + timeouts.expiry_grace <= wall:
        is_certificate = (
            stream.certificate_until <= exchange.valid_until or exchange.valid_until == _DISTRUSTED
        )
        _authority_ended(exchange, "certificate_expired" if is_certificate else "token_expired")
    elif _body_is_slow(exchange, now, timeouts):
        exchange.fail(Reason.REQUEST_TIMEOUT, "the request body comes too slowly")
    if exchange.ending.is_over:
        return
    if exchange.tunnel is None and stream.is_past_total(now):
        _timed_out(exchange, in_total=True)
    elif now >= stream.deadline and not is_blocked:
        if exchange.tunnel is not None:
            exchange.end_tunnel("timeout")
        else:
            _timed_out(exchange, in_total=False)


def _body_is_slow(exchange: Exchange, now: float, timeouts: Timeouts) -> bool:
    """Whether the request body arrived at less than the minimum rate over the last window."""
    request, stream = exchange.request, exchange.stream
    if request.complete or stream.is_held() or (exchange.awaits_continue and not request.body_bytes):
        return False
    return stream.body_is_slow(now, request.body_bytes, timeouts.body_rate_bytes, timeouts.body_rate_window)


def _authority_ended(exchange: Exchange, cause: str) -> None:
    """End after the token or the certificate has expired; `cause` is `token_expired` or `certificate_expired`.

    If the upstream has the whole request, it may have acted on it. Its response is still waited for, since a 401
    would make the client send the request again. A response that takes longer than its head is then cut.
    """
    if exchange.tunnel is not None:
        exchange.end_tunnel(cause)
    elif exchange.ending.has_begun or not exchange.is_sent:
        exchange.end_stream(cause)


def _timed_out(exchange: Exchange, *, in_total: bool) -> None:
    """The response, or its next part, did not arrive in time; `in_total`: the exchange as a whole took too long."""
    if exchange.ending.has_begun:
        exchange.record.ended_by = "timeout"
        late = "the exchange took too long: total_timeout" if in_total else "the response stalled"
        exchange.fail(Reason.UPSTREAM_TIMEOUT, late)
    elif isinstance(exchange, EndpointExchange) and exchange.reads_whole:
        exchange.fail(Reason.REQUEST_TIMEOUT, "the request body did not come in time")
    elif exchange.record.decision is None:
        exchange.fail(Reason.ISSUER_UNAVAILABLE, "no decision in time")
    elif exchange.request.complete or exchange.awaits_continue or exchange.stream.is_held():
        late = "total_timeout" if in_total else "response_timeout"
        exchange.fail(Reason.UPSTREAM_TIMEOUT, f"no response in time: {late}")
    else:
        exchange.fail(Reason.REQUEST_TIMEOUT, "the request body stalled")
