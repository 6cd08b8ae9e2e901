"""A short visit to an upstream that speaks HTTP/2: whether it does, and one question to it.

A visit has a connection of its own, as a probe of the kubelet has: what is asked is whether the API takes connections
and answers, not whether a connection that was good is still open.
"""

import asyncio
from typing import Final, cast

from sidecar.http.message import Field
from sidecar.proxy.configuration import UpstreamSettings
from sidecar.proxy.http2.engine import Http2Engine, Http2Failure, load
from sidecar.proxy.http2.events import NO_ERROR, Unheeded
from sidecar.proxy.upstream.transports import TRANSPORTS

MOST: Final = 4096
"""Bytes of an answer's content."""
_WORK: Final = 1 << 20


class VisitFailed(Exception):
    """Nothing came of it; the text says why."""


class Said:
    """What the upstream said: fields and trailers, and the content between."""

    __slots__ = ("content", "fields")

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        """By name; trailers overlay what stood in the head."""
        self.content = b""


class Visit(Unheeded):
    """One connection, while it lasts."""

    def __init__(self) -> None:
        load()
        loop = asyncio.get_running_loop()
        self.greeted: asyncio.Future[None] = loop.create_future()
        """Done once the upstream has sent its SETTINGS, as each end does first (RFC 9113 §3.4)."""
        self.answered: asyncio.Future[Said] = loop.create_future()
        self._answer = Said()
        self._engine = Http2Engine(
            self, is_server=False, streams=0, window=MOST, header_bytes=8192, headers=100
        )
        self._transport: asyncio.Transport | None = None

    def ask(self, fields: list[Field], content: bytes) -> None:
        """Ask the one question of this visit."""
        stream = self._engine.request(fields, ends=False)
        self._engine.send(stream, content, ends=True)
        self.flush()

    def leave(self) -> None:
        """Say good-bye and close."""
        if self._transport is not None:
            self._engine.go_away()
            self.flush()
            self._transport.close()
        for one in (self.greeted, self.answered):
            one.cancel()

    # --- the connection ------------------------------------------------------------------------------

    def connected(self, transport: asyncio.Transport) -> None:
        """The connection is open."""
        self._transport = transport
        self.flush()

    def flush(self) -> None:
        """Send what the engine has to say."""
        data = self._engine.outgoing()
        if data and self._transport is not None:
            self._transport.write(data)
        self._engine.deliver(_WORK)

    def receive(self, data: bytes) -> None:
        """Bytes of the upstream."""
        try:
            self._engine.receive(data)
        except Http2Failure:
            self.broken("it broke the rules of HTTP/2")
            return
        self._engine.deliver(_WORK)
        self.flush()

    def broken(self, why: str) -> None:
        """The connection is of no more use; before a greeting that has one reason."""
        self.fail(why if self.greeted.done() else "it speaks no HTTP/2")

    def fail(self, why: str) -> None:
        """Nothing more will come."""
        for one in (self.greeted, self.answered):
            if not one.done():
                one.set_exception(VisitFailed(why))
                one.exception()  # whoever waits is told; nobody may have waited

    # --- what the engine tells -----------------------------------------------------------------------

    def settled(self, streams: int) -> None:
        if not self.greeted.done():
            self.greeted.set_result(None)

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        self._answer.fields.update(fields)
        if ends:
            self._complete()

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        self._engine.took(stream, len(data))
        self._answer.content += data
        if len(self._answer.content) > MOST:
            self.fail("its answer is too large")
        elif ends:
            self._complete()

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        self._answer.fields.update(fields)
        self._complete()

    def _complete(self) -> None:
        if not self.answered.done():
            self.answered.set_result(self._answer)

    def closed(self, stream: int, code: int) -> None:
        if not self.answered.done():
            self.fail(f"it gave the request up (error {code})")

    def goaway(self, last: int, code: int) -> None:
        if code != NO_ERROR:
            self.broken(f"it ended the connection (error {code})")

    def ended(self, code: int, detail: str) -> None:
        self.broken("it ended the connection")


class _Wire(asyncio.Protocol):
    """The transport under a visit."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._visit.connected(cast(asyncio.Transport, transport))  # uvloop's has no such ancestor

    def data_received(self, data: bytes) -> None:
        self._visit.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._visit.broken("it closed the connection")


async def visit(settings: UpstreamSettings) -> Visit:
    """A connection on which the upstream has greeted. Raises `OSError` and `VisitFailed`."""
    made = Visit()
    loop = asyncio.get_running_loop()
    try:
        wire = await TRANSPORTS[settings.scheme](settings)(loop, lambda: _Wire(made), settings)
        assert isinstance(wire, _Wire)  # noqa: S101 — for the type checker
        await made.greeted
    except BaseException:
        made.leave()
        raise
    return made
