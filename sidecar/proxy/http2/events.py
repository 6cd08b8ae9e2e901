"""The events that an HTTP/2 engine reports to its owner, and the error codes that both use (RFC 9113)."""

from abc import ABC, abstractmethod
from typing import Final

from sidecar.http.message import Field
from sidecar.proxy.native import mypyc_attr

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB
"""Error codes (RFC 9113 §7)."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Http2Events(ABC):
    """Receives what the peer sent. `Http2Engine.deliver` calls all of these methods."""

    __slots__ = ()

    @abstractmethod
    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        """A request, or a final response. Pseudo-header fields come first; the engine has checked that."""

    @abstractmethod
    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        """A 1xx response."""

    @abstractmethod
    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        """Content. `took` must be called for all of it sooner or later, even if the stream is reset."""

    @abstractmethod
    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        """Trailer fields, which end the peer's half of the stream."""

    @abstractmethod
    def reset(self, stream: int, code: int) -> None:
        """The peer reset the stream, possibly one for which `head` was never called."""

    @abstractmethod
    def closed(self, stream: int, code: int) -> None:
        """The stream is closed. If `head` was never called for it, the engine itself refused it."""

    @abstractmethod
    def goaway(self, last: int, code: int) -> None:
        """The peer accepts no new streams, and has not processed those above `last` (RFC 9113 §6.8)."""

    @abstractmethod
    def settled(self, streams: int) -> None:
        """SETTINGS of the peer: how many concurrent streams it allows; negative if it did not say."""

    @abstractmethod
    def pong(self) -> None:
        """The answer to `ping`."""

    @abstractmethod
    def noise(self, *, of_window: int) -> None:
        """A frame that requests nothing: PING, PRIORITY_UPDATE, or WINDOW_UPDATE; `of_window` is its increment in
        bytes, else 0.
        """

    @abstractmethod
    def ended(self, code: int, detail: str) -> None:
        """The connection is over: `outgoing` returns the last bytes to send."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Unheeded(Http2Events):
    """Ignores all events: a base class for receivers of a few."""

    __slots__ = ()

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        pass

    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        pass

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        pass

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        pass

    def reset(self, stream: int, code: int) -> None:
        pass

    def closed(self, stream: int, code: int) -> None:
        pass

    def goaway(self, last: int, code: int) -> None:
        pass

    def settled(self, streams: int) -> None:
        pass

    def pong(self) -> None:
        pass

    def noise(self, *, of_window: int) -> None:
        pass

    def ended(self, code: int, detail: str) -> None:
        pass
