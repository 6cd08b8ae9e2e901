"""What an exchange knows of its client: one stream, whatever wire it came over.

Theory of operation. The wire implements the stream and drives the exchange: it says that more of the request is here,
that the client takes no more, that it is gone. The exchange answers through the stream and knows nothing of framing,
persistence or sockets. A stream carries its own clocks; whoever watches the time asks them (`client.deadlines`).

| method | HTTP/1.1 | HTTP/2 |
|---|---|---|
| `cut` | abort the connection | RST_STREAM |
| `hold` | pause reading | withhold window |
| `switch` | 101 | RFC 8441, or refuse |
| `over` | next request, linger or close | forget the stream |

An abstract class and no `Protocol`: compiled, a call goes through its table of methods instead of a look-up by name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from sidecar.decision.request import Presenter
from sidecar.http.answer import Answer
from sidecar.http.fields import RequestFields
from sidecar.http.message import Response
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
        """`now` gives seconds of the clock that deadlines are set by."""
        self.presenter = presenter
        self.hop: Hop | None = None
        """Makes the presenter of each request, where a proxy says who that is; None: `presenter` is of all."""
        self.certificate_until = certificate_until
        """Seconds since the epoch: not_after of the client certificate, when it was valid in the handshake."""
        self.was_permitted = False
        """A request with a token was permitted here."""
        self.deadline = NEVER
        """When what is awaited now must have come."""
        self._now = now
        self._must_end = NEVER
        self._body_since = 0.0
        self._body_seen = 0

    # --- the request ---------------------------------------------------------------------------------

    @abstractmethod
    def forwarding(self, fields: RequestFields) -> bytes:
        """Via, Forwarded and X-Forwarded-*: field lines about where the request came from (RFC 7239)."""

    @abstractmethod
    def origin(self, fields: RequestFields) -> bytes:
        """Scheme and authority that the client called; empty when it named no host."""

    @abstractmethod
    def is_held(self) -> bool:
        """Whether the client may send no more for now: then it is not the client that is slow."""

    @abstractmethod
    def hold(self) -> None:
        """Take no more of the request for now."""

    @abstractmethod
    def release(self) -> None:
        """Take more of the request; the client is not to blame for the time that it was held."""

    # --- the answer ----------------------------------------------------------------------------------

    @abstractmethod
    def interim(self, head: Response, fields: ResponseFields) -> None:
        """A 1xx response (RFC 9110 §15.2), where the client's version knows any."""

    @abstractmethod
    def head(self, head: Response, fields: ResponseFields, data: bytes, end: bytes | None) -> None:
        """The head of the final response, and what came of its content along with it.

        `end` is None while more follows; else the response is whole, and `end` holds the field lines of its trailers.
        """

    @abstractmethod
    def body(self, data: bytes, end: bytes | None) -> None:
        """More of the content, or of a tunnel; `end` as for `head`."""

    @abstractmethod
    def answer(self, answer: Answer, request_id: str) -> bool:
        """An answer of the sidecar's own. Returns whether the stream is done with the request.

        It is not while the rest of a body is read and thrown away: then `Exchange.request_arrived` finds the end.
        """

    @abstractmethod
    def switch(self, head: Response, fields: ResponseFields) -> bytes:
        """From now on `body` carries another protocol. Returns what the client has sent of it already."""

    @abstractmethod
    def cut(self) -> None:
        """End the answer visibly incomplete."""

    @abstractmethod
    def over(self) -> None:
        """The exchange is finished."""

    # --- time ----------------------------------------------------------------------------------------

    def expect_answer(self, seconds: float) -> None:
        """The upstream owes an answer within `seconds`."""
        self.deadline = self._now() + seconds

    def expect_more(self, silence: float) -> None:
        """The upstream owes the next part of a response, or either side the next part of a tunnel, within `silence`
        seconds; 0: some time.
        """
        self.deadline = self._now() + silence if silence else NEVER

    def expect_end(self, seconds: float) -> None:
        """The exchange is over within `seconds`."""
        self._must_end = self._now() + seconds

    def expect_body(self) -> None:
        """The client owes the body from now on."""
        self._body_since, self._body_seen = self._now(), 0

    def is_past_total(self, now: float) -> bool:
        """Whether the exchange takes longer than any may."""
        return now >= self._must_end

    def body_is_slow(self, now: float, received: int, rate: int, window: float) -> bool:
        """Whether less than `rate` bytes a second came over the last `window` seconds; `received` came in all."""
        since = self._body_since
        if now - since < window:
            return False
        seen, self._body_since, self._body_seen = self._body_seen, now, received
        return received - seen < rate * (now - since)
