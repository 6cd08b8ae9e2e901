"""What an HTTP/2 engine tells its owner, and the error codes that both use (RFC 9113)."""

from abc import ABC, abstractmethod
from typing import Final

from sidecar.http.message import Field
from sidecar.proxy.native import mypyc_attr

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
ENHANCE_YOUR_CALM: Final = 0xB
"""Error codes (RFC 9113 §7)."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Http2Events(ABC):
    """Who is told what the peer sent. All are called by `Http2Engine.deliver`."""

    __slots__ = ()

    @abstractmethod
    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        """A request, or a final response. Pseudo-header fields stand first, as the engine has checked."""

    @abstractmethod
    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        """A 1xx response."""

    @abstractmethod
    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        """Content. `took` must be called for all of it in the end, whatever becomes of the stream."""

    @abstractmethod
    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        """Trailer fields, which end the peer's half of the stream."""

    @abstractmethod
    def reset(self, stream: int, code: int) -> None:
        """The peer gave the stream up; perhaps one that no head was told of."""

    @abstractmethod
    def closed(self, stream: int, code: int) -> None:
        """The stream is over. One that no head was told of was refused by the engine itself."""

    @abstractmethod
    def goaway(self, last: int, code: int) -> None:
        """The peer takes no new streams; those above `last` it never looked at (RFC 9113 §6.8)."""

    @abstractmethod
    def settled(self, streams: int) -> None:
        """The peer's SETTINGS: how many streams it allows at once; negative: it has not said."""

    @abstractmethod
    def pong(self) -> None:
        """The answer to `ping`."""

    @abstractmethod
    def noise(self, *, of_window: int) -> None:
        """A frame that asks for nothing: PING, PRIORITY_UPDATE, or WINDOW_UPDATE by `of_window` bytes, else 0."""

    @abstractmethod
    def ended(self, code: int, detail: str) -> None:
        """The connection is over: what `outgoing` hands over now is its last word."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Unheeded(Http2Events):
    """Does nothing, whatever it is told: a base for those that have use for a part of it."""

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
