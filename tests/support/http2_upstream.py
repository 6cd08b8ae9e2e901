"""An API that speaks HTTP/2, in the test's hands: the engine's server role on a connection that the sidecar opened."""

from dataclasses import dataclass, field

from sidecar.http.message import Field
from sidecar.proxy.http2.engine import Http2Engine
from tests.support.conversation import Upstream
from tests.support.http2_peer import Http2Peer


@dataclass
class Asked:
    """One request as it came."""

    fields: list[Field]
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    is_whole: bool = False
    reset: int | None = None

    def value(self, name: str) -> str:
        return dict(self.fields)[name.encode()].decode()


class Http2Api(Http2Peer):
    """One connection."""

    def __init__(self, upstream: Upstream, *, streams: int = 100, window: int = 65536) -> None:
        super().__init__()
        self.upstream = upstream
        self.asked: dict[int, Asked] = {}
        self.goaways: list[int] = []
        self.pings = 0
        self.engine = Http2Engine(
            self, is_server=True, streams=streams, window=window, header_bytes=65536, headers=200
        )
        self.pump()

    # -- what it does

    def hears(self) -> bytes:
        return self.upstream.hears_all()

    def writes_out(self, data: bytes) -> None:
        self.upstream.says(data)

    def says(
        self, number: int, status: int = 200, *fields: Field, data: bytes = b"", ends: bool = True
    ) -> None:
        """The head of an answer, and some content."""
        head: list[Field] = [(b":status", b"%d" % status), *fields]
        self.engine.respond(number, head, ends=ends and not data)
        if data:
            self.engine.send(number, data, ends=ends)
        self.pump()

    def informs(self, number: int, status: int) -> None:
        self.engine.inform(number, [(b":status", b"%d" % status)])
        self.pump()

    def gives_up(self, number: int, code: int) -> None:
        self.engine.reset(number, code)
        self.pump()

    def goes_away(self) -> None:
        self.engine.go_away()
        self.pump()

    # -- what it is told

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        self.asked[stream] = Asked(list(fields), is_whole=ends)

    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        raise AssertionError("a client sends none")

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        self.asked[stream].body += data
        self.asked[stream].is_whole = ends
        self.taken(stream, data)

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        self.asked[stream].trailers = {name.decode(): value.decode() for name, value in fields}
        self.asked[stream].is_whole = True

    def reset(self, stream: int, code: int) -> None:
        self.asked[stream].reset = code

    def closed(self, stream: int, code: int) -> None:
        pass

    def goaway(self, last: int, code: int) -> None:
        self.goaways.append(code)

    def settled(self, streams: int) -> None:
        pass

    def pong(self) -> None:
        pass

    def noise(self, *, of_window: int) -> None:
        self.pings += not of_window

    def ended(self, code: int, detail: str) -> None:
        pass
