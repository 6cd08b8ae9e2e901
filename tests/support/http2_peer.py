"""The other end of the sidecar's HTTP/2, in the test's hands: what a client and an API have in common."""

from abc import abstractmethod

from sidecar.http.message import Field
from sidecar.proxy.http2.engine import Http2Engine
from sidecar.proxy.http2.events import Http2Events


class Http2Peer(Http2Events):
    """One connection, spoken by an engine of its own."""

    engine: Http2Engine

    def __init__(self) -> None:
        self.takes = True
        """Whether windows are given back."""
        self._untaken: list[tuple[int, int]] = []

    @abstractmethod
    def hears(self) -> bytes:
        """What the sidecar sent since."""

    @abstractmethod
    def writes_out(self, data: bytes) -> None:
        """Send it to the sidecar."""

    # -- what it does

    def sends(self, number: int, data: bytes, *, ends: bool = False) -> None:
        self.engine.send(number, data, ends=ends)
        self.pump()

    def trails(self, number: int, *fields: Field) -> None:
        self.engine.trail(number, list(fields))
        self.pump()

    def takes_on(self) -> None:
        """Gives back the windows that it kept."""
        self.takes = True
        for number, size in self._untaken:
            self.engine.took(number, size)
        self._untaken.clear()
        self.pump()

    def taken(self, stream: int, data: bytes) -> None:
        """Content came: its window is given back, or kept."""
        if self.takes:
            self.engine.took(stream, len(data))
        else:
            self._untaken.append((stream, len(data)))

    def pump(self) -> None:
        """Until neither side has anything to say."""
        while True:
            heard, sent = self.hears(), self.engine.outgoing()
            if heard:
                self.engine.receive(heard)
            while self.engine.has_events:
                self.engine.deliver(1000)
            if sent:
                self.writes_out(sent)
            if not heard and not sent:
                return
