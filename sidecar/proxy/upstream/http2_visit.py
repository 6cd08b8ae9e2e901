"""A short connection to an upstream to check whether it speaks HTTP/2, and to send it one request.

Each visit opens its own connection, as a kubelet probe does: it checks whether the API accepts connections and
responds, not whether an existing connection is still open.
"""

import asyncio
from typing import Final, cast

from sidecar.http.message import Field
from sidecar.proxy.configuration import UpstreamSettings
from sidecar.proxy.http2.engine import Http2Engine, Http2Failure
from sidecar.proxy.http2.events import NO_ERROR, Unheeded
from sidecar.proxy.upstream.transports import TRANSPORTS

MOST: Final = 4096
"""Largest content of a response, in bytes."""
_WORK: Final = 1 << 20


class VisitFailed(Exception):
    """The visit failed; the text says why."""


class Said:
    """The response of the upstream: fields, content and trailers."""

    __slots__ = ("content", "fields")

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        """Fields by name; a trailer replaces a head field of the same name."""
        self.content = b""


class Visit(Unheeded):
    """One connection during the visit."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.greeted: asyncio.Future[None] = loop.create_future()
        """Done when the upstream has sent its SETTINGS, which each endpoint sends first (RFC 9113 §3.4)."""
        self.answered: asyncio.Future[Said] = loop.create_future()
        self._answer = Said()
        self._engine = Http2Engine(
            self, is_server=False, streams=0, window=MOST, header_bytes=8192, headers=100
        )
        self._transport: asyncio.Transport | None = None

    def ask(self, fields: list[Field], content: bytes) -> None:
        """Send the one request of this visit."""
        stream = self._engine.request(fields, ends=False)
        self._engine.send(stream, content, ends=True)
        self.flush()

    def leave(self) -> None:
        """Send GOAWAY and close."""
        if self._transport is not None:
            self._engine.go_away()
            self._send()
            self._transport.close()
        for one in (self.greeted, self.answered):
            one.cancel()

    # --- the connection ------------------------------------------------------------------------------

    def connected(self, transport: asyncio.Transport) -> None:
        """The connection is open."""
        self._transport = transport
        self.flush()

    def flush(self) -> None:
        """Send the engine's output, and see what has ended with it."""
        self._send()
        self._engine.deliver(_WORK)

    def _send(self) -> None:
        data = self._engine.outgoing()
        if data and self._transport is not None:
            self._transport.write(data)

    def receive(self, data: bytes) -> None:
        """Process bytes of the upstream."""
        self._engine.receive(data)
        try:
            self._engine.deliver(_WORK)
        except Http2Failure:
            self.broken("it broke the rules of HTTP/2")
            return
        self.flush()

    def broken(self, why: str) -> None:
        """The connection has failed; before SETTINGS, every failure has the same reason."""
        self.fail(why if self.greeted.done() else "it speaks no HTTP/2")

    def fail(self, why: str) -> None:
        """End with a failure: nothing more will arrive."""
        for one in (self.greeted, self.answered):
            if not one.done():
                one.set_exception(VisitFailed(why))
                one.exception()  # marks the exception as retrieved, since possibly nobody awaits it

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
    """The transport of a visit."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._visit.connected(cast(asyncio.Transport, transport))  # uvloop's transport does not inherit it

    def data_received(self, data: bytes) -> None:
        self._visit.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._visit.broken("it closed the connection")


async def visit(settings: UpstreamSettings) -> Visit:
    """A connection on which the upstream has sent SETTINGS. Raises `OSError` and `VisitFailed`."""
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
