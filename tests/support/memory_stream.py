"""A second wire: one stream in memory, without sockets, framing or persistence. What an exchange does with it is what
it does with any client.
"""

from sidecar.decision.request import Presenter
from sidecar.http.answer import Answer
from sidecar.http.fields import RequestFields
from sidecar.http.lines import FieldBlock, field_lines
from sidecar.http.message import Field, Request, Response
from sidecar.http.response_fields import ResponseFields
from sidecar.proxy.exchange import overdue
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.exchange.stream import NEVER, ClientStream
from tests.support.conversation import Conversation


class MemoryStream(ClientStream):
    """Keeps what an exchange says to its client, and drives it as a wire does."""

    def __init__(self, talk: Conversation) -> None:
        super().__init__(Presenter(None, "main", "192.0.2.7:50000"), NEVER, talk.server.now)
        self._talk = talk
        self._request = Request()
        self._held = False
        self._blocked = False
        self.exchange: Exchange | None = None
        self.interims: list[int] = []
        self.status = 0
        self.content = b""
        self.trailers = b""
        self.is_whole = False
        self.was_cut = False
        self.switched = False

    # -- what the client does

    def asks(self, method: str, path: str, fields: list[Field], body: bytes, *, is_all: bool) -> None:
        """Sends a head with the beginning of its body."""
        request = self._request
        request.method, request.target = method, path.encode()
        request.fields = [(b"Host", b"api"), *fields]
        request.upgrade = any(name == b"Upgrade" for name, _ in fields)
        self._take(body, is_all=is_all)
        self.expect_body()
        server = self._talk.server
        server.under_way.count += 1
        self.exchange = exchange = Exchange(self, request, server.serving)
        exchange.begin()
        self._talk.loop.settle()

    def sends(self, data: bytes, *, is_all: bool = False) -> None:
        """More of the body, or of a tunnel."""
        exchange = self.exchange
        assert exchange is not None, "nobody would read it"
        if exchange.tunnel is not None:
            exchange.tunnel.from_client(data)
        else:
            self._take(data, is_all=is_all)
            exchange.request_arrived()
        self._talk.loop.settle()

    def _take(self, data: bytes, *, is_all: bool) -> None:
        request = self._request
        if data:
            request.chunks.append(data)
            request.body_bytes += len(data)
        request.complete = is_all

    def leaves(self) -> None:
        self._gone()
        self._talk.loop.settle()

    def stops_reading(self) -> None:
        assert self.exchange is not None
        self.exchange.hold_upstream()

    def reads_on(self) -> None:
        assert self.exchange is not None
        self.exchange.release_upstream()
        self._talk.loop.settle()

    def time_passes(self, seconds: float) -> None:
        """On every clock; then it is looked at."""
        talk = self._talk
        talk.later(seconds)
        if self.exchange is not None:
            timeouts = talk.settings.timeouts
            overdue.check(
                self.exchange, talk.server.now(), talk.server.serving.clock(), timeouts, is_blocked=False
            )
        talk.loop.settle()

    def _gone(self) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self._talk.server.under_way.count -= 1
            exchange.abandon()

    # -- what the exchange says

    def forwarding(self, fields: RequestFields) -> FieldBlock:
        return FieldBlock(b"Via: memory sidecar\r\n")

    def origin(self, fields: RequestFields) -> bytes:
        return b"https://api"

    def is_held(self) -> bool:
        return self._held

    def hold(self) -> None:
        self._held = True

    def release(self) -> None:
        self._held = False

    def interim(self, head: Response, fields: ResponseFields) -> None:
        self.interims.append(head.status)

    def head(self, head: Response, fields: ResponseFields, data: bytes, end: list[Field] | None) -> None:
        assert not self.status, "a second answer"
        self.status = head.status
        self.body(data, end)

    def body(self, data: bytes, end: list[Field] | None) -> None:
        assert not self.is_whole, "content behind the end"
        self.content += data
        if end is not None:
            self.trailers, self.is_whole = field_lines(end), True

    def answer(self, answer: Answer, request_id: str) -> bool:
        assert not self.status, "a second answer"
        self.status, self.content, self.is_whole = answer.status, answer.body(request_id), True
        return True

    def switch(self, head: Response, fields: ResponseFields) -> bytes:
        self.status, self.switched = head.status, True
        return b""

    def cut(self) -> None:
        self.was_cut = True

    def over(self) -> None:
        assert self.exchange is not None, "over twice"
        self.exchange = None
        self._talk.server.under_way.count -= 1
