"""Every wire under an exchange keeps the contract of `ClientStream`."""

from sidecar.http.message import Field
from sidecar.proxy.client.http2 import Http2Wire
from sidecar.proxy.http2.events import PROTOCOL_ERROR
from tests.contracts.client_stream import Caller, ClientStreamContract, Heard
from tests.support.conversation import Conversation
from tests.support.http2_client import Http2Client, RawHttp2
from tests.support.http2_frames import request
from tests.support.memory_stream import MemoryStream
from tests.support.tls_client import Truncated


class Http1Caller(Caller):
    """Over HTTP/1.1."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._client = talk.client()
        self._upgraded = False

    def asks(
        self, path: str, method: str = "GET", *, size: int | None = None, body: bytes = b"", upgrade: str = ""
    ) -> None:
        length = f"Content-Length: {size}\r\n" if size is not None else ""
        other = f"Upgrade: {upgrade}\r\nConnection: upgrade\r\n" if upgrade else ""
        self._upgraded = bool(upgrade)
        self._client.says(f"{method} {path} HTTP/1.1\r\nHost: api\r\n{length}{other}\r\n".encode() + body)

    def sends(self, data: bytes, *, is_all: bool = False) -> None:
        self._client.says(data)

    def leaves(self) -> None:
        self._client.leaves()

    def stops_reading(self) -> None:
        self._client.stops_reading()

    def reads_on(self) -> None:
        self._client.reads()

    def time_passes(self, seconds: float) -> None:
        self._talk.later(seconds)

    def heard(self, to: str = "GET") -> Heard:
        if self._upgraded:
            head, _, rest = self._client.hears().partition(b"\r\n\r\n")
            return Heard(int(head[9:12]), rest)
        try:
            response = self._client.answer(to)
        except Truncated:
            return Heard(was_cut=self._client.was_cut)
        interims = tuple(each.status for each in response.informational)
        return Heard(response.status, response.body, interims, response.trailers, is_whole=True)

    @property
    def may_send(self) -> bool:
        return self._client.is_read


class MemoryCaller(Caller):
    """Over the stream in memory."""

    def __init__(self, talk: Conversation) -> None:
        self._stream = MemoryStream(talk)

    def asks(
        self, path: str, method: str = "GET", *, size: int | None = None, body: bytes = b"", upgrade: str = ""
    ) -> None:
        fields: list[Field] = []
        if size is not None:
            fields.append((b"Content-Length", b"%d" % size))
        if upgrade:
            fields += [(b"Upgrade", upgrade.encode()), (b"Connection", b"upgrade")]
        self._stream.asks(method, path, fields, body, is_all=len(body) == (size or 0))

    def sends(self, data: bytes, *, is_all: bool = False) -> None:
        self._stream.sends(data, is_all=is_all)

    def leaves(self) -> None:
        self._stream.leaves()

    def stops_reading(self) -> None:
        self._stream.stops_reading()

    def reads_on(self) -> None:
        self._stream.reads_on()

    def time_passes(self, seconds: float) -> None:
        self._stream.time_passes(seconds)

    def heard(self, to: str = "GET") -> Heard:
        stream = self._stream
        if stream.was_cut:
            return Heard(was_cut=True)
        lines = [line.decode().split(": ") for line in stream.trailers.split(b"\r\n") if line]
        trailers = tuple((name, value) for name, value in lines)
        return Heard(stream.status, stream.content, tuple(stream.interims), trailers, stream.is_whole)

    @property
    def may_send(self) -> bool:
        return not self._stream.is_held()


class Http2Caller(Caller):
    """Over HTTP/2."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._client = Http2Client(talk, window=65536)
        self._number = 0

    def asks(
        self, path: str, method: str = "GET", *, size: int | None = None, body: bytes = b"", upgrade: str = ""
    ) -> None:
        assert not upgrade, "there is none"
        fields = [(b"content-length", b"%d" % size)] if size is not None else []
        ends = not size and not body
        self._number = self._client.asks(path, method, *fields, ends=ends)
        if body:
            self._client.sends(self._number, body, ends=len(body) == size)

    def sends(self, data: bytes, *, is_all: bool = False) -> None:
        self._client.sends(self._number, data, ends=is_all)

    def leaves(self) -> None:
        self._client.resets(self._number)

    def stops_reading(self) -> None:
        self._client.stops_taking()

    def reads_on(self) -> None:
        self._client.takes_on()

    def time_passes(self, seconds: float) -> None:
        self._talk.later(seconds)

    def heard(self, to: str = "GET") -> Heard:
        got = self._client.got(self._number)
        if got.reset:
            return Heard(was_cut=True)
        trailers = tuple((name.title(), value) for name, value in got.trailers.items())
        return Heard(got.status, got.body, tuple(got.interims), trailers, got.is_whole)

    @property
    def may_send(self) -> bool:
        """The window says it only once much of it is used up, so the stream itself is asked."""
        (connection,) = self._talk.server._connections
        wire = connection.wire
        assert isinstance(wire, Http2Wire)
        stream = wire.streams.get(self._number)
        return stream is not None and not stream.is_held()


class TestHttp1Stream(ClientStreamContract):
    """That of a client connection."""

    def caller(self, talk: Conversation) -> Caller:
        return Http1Caller(talk)


class TestMemoryStream(ClientStreamContract):
    """One without a wire."""

    def caller(self, talk: Conversation) -> Caller:
        return MemoryCaller(talk)


class TestHttp2Stream(ClientStreamContract):
    """One of many on a client connection."""

    def caller(self, talk: Conversation) -> Caller:
        return Http2Caller(talk)

    def test_other_protocol_passes_both_ways(self, talk: Conversation) -> None:
        """None does: RFC 9113 §8.6 knows no upgrade, and extended CONNECT (RFC 8441) is not offered."""
        client = RawHttp2(talk)
        client.asks(1, request("/a", "GET", (b"upgrade", b"chat")))
        assert client.was_reset(1) == PROTOCOL_ERROR
        assert talk.untouched
        assert talk.outcomes == [("", 0, "request_malformed")]
