"""Limits the work of one HTTP/2 connection per turn of the event loop, so that others do not wait long.

Theory of operation. A turn allows a number of units of work. The engine counts them as it reports events: units of
heads, of content, and those that the owner adds for expensive requests. Further data is not decoded, and nothing more
is read from the socket. The connection queues (`turns`) with all others that need more than one turn, or in the queue
of connections whose requests are always refused. Work above the limit is subtracted from the next turns.

A turn is longer for a client whose last request was permitted with a token, because sending many answers together costs
less. It is also longer while no other connection has a request in progress, and had none shortly before. Output is sent
once, at the end of the turn.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from sidecar.decision.request import Presenter
from sidecar.http.forwarding import Forwarding
from sidecar.proxy.client.host import Host
from sidecar.proxy.client.http2_stream import Carrier, Http2Stream
from sidecar.proxy.client.link import Link
from sidecar.proxy.exchange.stream import NEVER
from sidecar.proxy.http2.engine import Http2Failure
from sidecar.proxy.native import mypyc_attr

_TURN: Final = 16
"""Units of work in one turn of the event loop: 2 requests, or 8 pieces of content."""
_TURN_LONG: Final = 64
"""Units of work in a turn of a client whose last request was permitted, or while no other is active: 8 requests."""
ENDED_AT_ONCE: Final = 4
"""Number of exchanges that are ended in one turn because their client has disconnected, or did not end the request in
time. When the process stops, all have to end.
"""
_MOMENT: Final = 64
"""Number of turns for which a connection that was active counts as active."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Http2Turns(Carrier):
    """The part of a connection that manages its turns."""

    __slots__ = (
        "_all_under_way", "_alone_in", "_call_soon", "_client_ended", "_flushes", "_host", "_leavers", "_left",
        "_link", "_unanswered_since", "_waits", "under_way", "was_permitted",
    )  # fmt: skip

    def __init__(
        self, link: Link, host: Host, presenter: Presenter, certificate_until: float, forwarding: Forwarding
    ) -> None:
        super().__init__(presenter, certificate_until, forwarding, host.now)
        self._link = link
        self._host = host
        self._call_soon: Callable[[Callable[[], object]], object] = asyncio.get_running_loop().call_soon
        self._all_under_way = host.under_way
        self._alone_in = 0
        """Number of turns until the connection counts as alone."""
        self._left = _TURN
        """Units of work that this turn still allows."""
        self.under_way = 0
        """Exchanges of this connection in progress."""
        self.was_permitted = False
        """A request with a token was permitted on this connection."""
        self._leavers: list[Http2Stream] = []
        """Streams of a disconnected client whose exchanges still have to be ended."""
        self._waits = False
        """Received data waits for the next turn."""
        self._client_ended = self._flushes = False
        self._unanswered_since = NEVER
        """Time since which an incomplete frame, or an incomplete field block, has been waiting."""

    def _end_some(self) -> None:
        """End a few exchanges of a disconnected client."""
        leavers = self._leavers
        some = leavers[:] if self._host.draining else leavers[:ENDED_AT_ONCE]
        del leavers[: len(some)]
        if leavers:
            self._host.call_soon(self._end_more, self.refusals)
        for stream in some:
            try:
                stream.close()
            except Exception as error:  # noqa: BLE001 — a bug must not keep the records of other requests back
                self._host.report_bug(error)

    def _end_more(self) -> None:
        self._guarded(self._end_some)

    @abstractmethod
    def flush(self) -> None:
        """Send the output, and find the streams that can continue."""

    @abstractmethod
    def failed(self, failure: Http2Failure) -> None:
        """End the connection because of an error in what the client sent."""

    @abstractmethod
    def end_halves(self) -> bool:
        """Reset the streams whose remaining data will not arrive; returns whether no stream is left."""

    def receive(self, plaintext: bytes) -> None:
        """Process what the client sent."""
        self.engine.receive(plaintext)
        if not self._waits:
            self._read_on()

    def _read_on(self) -> None:
        """Process received data, as far as the turn allows."""
        link, engine = self._link, self.engine
        if link.is_ending:
            return
        if link.blocked_since != NEVER:
            link.hold()  # unread answers must not accumulate
            return
        self.flush_soon()
        left, block = self._left, engine.open_block
        waits = self._deliver()
        if waits or not engine.is_within:
            self._unanswered_since = NEVER
        elif self._unanswered_since == NEVER or (
            self._left < left and (not block or engine.open_block != block)
        ):
            self._unanswered_since = self._host.now()
        if waits or self._left <= -_TURN:
            self._wait()
        elif not link.is_ending:
            link.release()
            if self._client_ended:
                self.end_halves()

    def _deliver(self) -> bool:
        """Deliver the events that the turn allows. Returns whether there are more."""
        try:
            self._left = self.engine.deliver(self._left)
        except Http2Failure as failure:
            self.failed(failure)
        return self.engine.has_events

    def _wait(self) -> None:
        """Queue for a turn; until then nothing is read from this client, and nothing is decoded."""
        if self._link.is_ending:
            return
        self._waits = True
        self._link.hold()
        self._host.call_soon(self._take_turn, self.refusals)

    def flush_soon(self) -> None:
        """The engine has output: it is sent at the end of this turn of the event loop."""
        if not self._flushes:
            self._flushes = True
            self._call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._flushes = False
        if not self._waits:
            self._begin_turn()
        self._guarded(self.flush)

    def _begin_turn(self) -> None:
        if self._all_under_way.count > self.under_way:
            self._alone_in = _MOMENT
        elif self._alone_in:
            self._alone_in -= 1
        is_long = not self._alone_in or (self.was_permitted and not self.refusals)
        self._left = min(self._left, 0) + (_TURN_LONG if is_long else _TURN)

    def _take_turn(self) -> None:
        """Continue after all others have had their turn."""
        self._waits = False
        self._begin_turn()
        self._guarded(self._read_on)

    def _see_ends(self) -> None:
        """Count the streams that ended with the output, some refused by the engine: they are work too."""
        if self.engine.has_events and not self._waits and self._deliver():
            self._wait()

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 — a bug must not affect other connections or permit a request
            self._host.report_bug(error)
            self._link.abort()
