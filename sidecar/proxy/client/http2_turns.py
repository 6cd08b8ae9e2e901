"""What one connection of HTTP/2 may do in a turn of the event loop, so that no other waits long for its own.

Theory of operation. A turn allows so many units of work, which the engine counts as it tells what came: of a head, of
content, of what the owner adds because it was dear. What is left is not even decoded, and nothing more is read from the
socket; the connection stands in line (`turns`) with all others that want more than one turn, or in the line of those
that are always refused. What took more than a turn allows is owed: the next turns are shorter by it.

A turn is longer for a client whose last request was permitted with a token, because many answers that go out together
cost less. It is also longer while nobody else has a request under way, and had none a moment ago. What is to be said
goes out once, at the end of the turn.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from sidecar.decision.request import Presenter
from sidecar.http.forwarding import Forwarding
from sidecar.proxy.client.host import Host
from sidecar.proxy.client.http2_stream import Carrier
from sidecar.proxy.client.link import Link
from sidecar.proxy.exchange.stream import NEVER
from sidecar.proxy.http2.engine import Http2Failure
from sidecar.proxy.native import mypyc_attr

_TURN: Final = 16
"""Units of work in one turn of the event loop: 2 requests, or 8 pieces of content."""
_TURN_LONG: Final = 64
"""The same for a client whose last request was permitted with a token, or while nobody else is there: 8 requests."""
_MOMENT: Final = 64
"""For how many turns somebody who was there may come again."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Http2Turns(Carrier):
    """One connection, as far as it takes turns with others."""

    __slots__ = (
        "_alone_in", "_call_soon", "_client_ended", "_flushes", "_host", "_left", "_link", "_unanswered_since",
        "_waits", "under_way", "was_permitted",
    )  # fmt: skip

    def __init__(
        self, link: Link, host: Host, presenter: Presenter, certificate_until: float, forwarding: Forwarding
    ) -> None:
        super().__init__(presenter, certificate_until, forwarding, host.now)
        self._link = link
        self._host = host
        self._call_soon: Callable[[Callable[[], object]], object] = asyncio.get_running_loop().call_soon
        self._alone_in = 0
        """Turns until it counts as alone."""
        self._left = _TURN
        """Units of work that this turn still allows."""
        self.under_way = 0
        """Exchanges of this connection that are not over."""
        self.was_permitted = False
        """A request with a token was permitted here."""
        self._waits = False
        """What came waits for the next turn."""
        self._client_ended = self._flushes = False
        self._unanswered_since = NEVER
        """Since when something has begun that is no whole frame yet."""

    @abstractmethod
    def flush(self) -> None:
        """Say what there is to say, and see which streams can go on."""

    @abstractmethod
    def failed(self, failure: Http2Failure) -> None:
        """What the client sent ends the connection."""

    @abstractmethod
    def end_halves(self) -> bool:
        """Give up the streams whose rest will not come; returns whether none is left."""

    def receive(self, plaintext: bytes) -> None:
        """Take what the client sent."""
        try:
            self.engine.receive(plaintext)
        except Http2Failure as failure:
            self.failed(failure)
            return
        if not self.engine.has_events and self._unanswered_since == NEVER:
            self._unanswered_since = self._host.now()
        if not self._waits:
            self._read_on()

    def _read_on(self) -> None:
        """Act on what came, as far as the turn goes."""
        link, engine = self._link, self.engine
        if link.is_ending:
            return
        if link.blocked_since != NEVER:
            link.hold()  # answers that nobody reads must not pile up
            return
        self.flush_soon()
        if engine.has_events:
            self._unanswered_since = NEVER
        if self._deliver() or self._left <= -_TURN:
            self._wait()
        elif not link.is_ending:
            link.release()
            if self._client_ended:
                self.end_halves()

    def _deliver(self) -> bool:
        """Have told what the turn allows. Returns whether there is more."""
        try:
            self._left = self.engine.deliver(self._left)
        except Http2Failure as failure:
            self.failed(failure)
        return self.engine.has_events

    def _wait(self) -> None:
        """Stand in line; until then nothing is read of this client, and nothing decoded."""
        if self._link.is_ending:
            return
        self._waits = True
        self._link.hold()
        self._host.call_soon(self._take_turn, self.refusals)

    def flush_soon(self) -> None:
        """The engine has something to say: it goes out at the end of this turn of the event loop."""
        if not self._flushes:
            self._flushes = True
            self._call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._flushes = False
        if not self._waits:
            self._begin_turn()
        self._guarded(self.flush)

    def _begin_turn(self) -> None:
        if self._host.under_way.count > self.under_way:
            self._alone_in = _MOMENT
        elif self._alone_in:
            self._alone_in -= 1
        is_long = not self._alone_in or (self.was_permitted and not self.refusals)
        self._left = min(self._left, 0) + (_TURN_LONG if is_long else _TURN)

    def _take_turn(self) -> None:
        """Go on when all others had their turn."""
        self._waits = False
        self._begin_turn()
        self._guarded(self._read_on)

    def _see_ends(self) -> None:
        """What went out has ended streams, some of which the engine has refused itself: that is work as any other."""
        if self.engine.has_events and not self._waits and self._deliver():
            self._wait()

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 — one connection's bug must not take others, and is never a pass
            self._host.report_bug(error)
            self._link.abort()
