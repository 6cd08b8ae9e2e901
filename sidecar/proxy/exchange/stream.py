"""The interface between an exchange and its client: one stream, independent of the wire.

Theory of operation. The wire implements the stream and drives the exchange: it reports more of the request, a full
buffer, and the end of the connection. The exchange answers through the stream and does not depend on framing,
persistence or sockets. A stream has its own deadlines, which are checked from outside (`client.deadlines`).

| method | HTTP/1.1 | HTTP/2 |
|---|---|---|
| `cut` | abort the connection | RST_STREAM |
| `hold` | pause reading | withhold window |
| `switch` | 101 | RFC 8441, or refuse |
| `over` | next request, linger or close | forget the stream |

It is an abstract class, not a `Protocol`: compiled code then calls through a method table, without a look-up by name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from sidecar.decision.request import Presenter
from sidecar.http.answer import Answer
from sidecar.http.fields import RequestFields
from sidecar.http.lines import FieldBlock
from sidecar.http.message import Field, Response
from sidecar.http.response_fields import ResponseFields
from sidecar.proxy.native import mypyc_attr
from sidecar.proxy.vouching.hop import Hop

NEVER: Final = float("inf")


@mypyc_attr(allow_interpreted_subclasses=True)
class ClientStream(ABC):
    """The client's side of one exchange."""

    __slots__ = (
        "_body_seen", "_body_since", "_must_end", "_now", "certificate_until", "deadline", "hop", "presenter",
        "was_permitted",
    )  # fmt: skip

    def __init__(self, presenter: Presenter, certificate_until: float, now: Callable[[], float]) -> None:
        """`now` gives seconds of the clock of deadlines: that of the event loop, which uvloop reads once in each turn.
        Deadlines are checked about once a second, so no call needs more.
        """
        self.presenter = presenter
        self.hop: Hop | None = None
        """Makes the presenter of each request, if a proxy identifies it; None: `presenter` applies to all."""
        self.certificate_until = certificate_until
        """Seconds since the epoch: not_after of the client certificate, if it was valid in the handshake."""
        self.was_permitted = False
        """A request with a token was permitted here."""
        self.deadline = NEVER
        """Time by which the awaited event must have occurred."""
        self._now = now
        self._must_end = NEVER
        self._body_since = 0.0
        self._body_seen = 0

    # --- the request ---------------------------------------------------------------------------------

    @abstractmethod
    def forwarding(self, fields: RequestFields) -> FieldBlock:
        """The fields Via, Forwarded and X-Forwarded-*: the origin of the request (RFC 7239)."""

    @abstractmethod
    def origin(self, fields: RequestFields) -> bytes:
        """Scheme and authority of the request; empty if it named no host."""

    @abstractmethod
    def is_held(self) -> bool:
        """Whether the client may not send now: then it is not blamed for being slow."""

    @abstractmethod
    def hold(self) -> None:
        """Pause receiving the request."""

    @abstractmethod
    def release(self) -> None:
        """Resume receiving the request. The time for which it was held does not count against the client."""

    # --- the answer ----------------------------------------------------------------------------------

    @abstractmethod
    def interim(self, head: Response, fields: ResponseFields) -> None:
        """Send a 1xx response (RFC 9110 §15.2), if the client's version has them."""

    @abstractmethod
    def head(self, head: Response, fields: ResponseFields, data: bytes, end: list[Field] | None) -> None:
        """Send the head of the final response, and the content that arrived with it.

        `end` is None while more follows; otherwise the response is complete, and `end` are its trailers.
        """

    @abstractmethod
    def body(self, data: bytes, end: list[Field] | None) -> None:
        """Send more of the content, or of a tunnel; `end` as for `head`."""

    @abstractmethod
    def answer(self, answer: Answer, request_id: str) -> bool:
        """Send an answer of the sidecar's own. Returns whether the stream is done with the request.

        It is not done while the rest of a body is read and discarded: then `Exchange.request_arrived` finds the end.
        """

    @abstractmethod
    def switch(self, head: Response, fields: ResponseFields) -> bytes:
        """From now on `body` carries another protocol. Returns the bytes of it that the client has sent already."""

    @abstractmethod
    def cut(self) -> None:
        """End the answer so that the client sees that it is incomplete."""

    @abstractmethod
    def over(self) -> None:
        """The exchange is finished."""

    # --- time ----------------------------------------------------------------------------------------

    def expect_answer(self, seconds: float) -> None:
        """The upstream has to begin its response within `seconds`."""
        self.deadline = self._now() + seconds

    def expect_more(self, silence: float) -> None:
        """The upstream has to send the next part of a response, or either side the next part of a tunnel, within
        `silence` seconds; 0: no limit.
        """
        self.deadline = self._now() + silence if silence else NEVER

    def expect_end(self, seconds: float) -> None:
        """The exchange has to be over within `seconds`."""
        self._must_end = self._now() + seconds

    def expect_body(self) -> None:
        """The client has to send the body from now on."""
        self._body_since, self._body_seen = self._now(), 0

    def is_past_total(self, now: float) -> bool:
        """Whether the exchange has exceeded its total time limit."""
        return now >= self._must_end

    def body_is_slow(self, now: float, received: int, rate: int, window: float) -> bool:
        """Whether less than `rate` bytes a second arrived over the last `window` seconds; `received` is the total so
        far.
        """
        since = self._body_since
        if now - since < window:
            return False
        seen, self._body_since, self._body_seen = self._body_seen, now, received
        return received - seen < rate * (now - since)
