"""One client connection: TCP, the PROXY protocol and TLS; its wire handles the plaintext.

Theory of operation. The event loop calls this object. Ciphertext goes into the TLS engine of the link, plaintext into
the wire that the handshake agreed on (`wires`), which writes through the same link. `deadlines` are checked for all.
"""

import asyncio
from typing import Final, cast

from sidecar.decision.request import ClientCertificate, Presenter
from sidecar.proxy.client.host import Accepts, Admits
from sidecar.proxy.client.link import CLOSED, HANDSHAKE, LINGER, PLAIN_HTTP, PREFACE, Link
from sidecar.proxy.client.proxy_protocol import Incomplete, NotProxyProtocol, read_preface
from sidecar.proxy.client.wires import Wire, kept_bytes, wire_for
from sidecar.proxy.configuration import HTTP1
from sidecar.proxy.exchange import overdue
from sidecar.proxy.exchange.stream import NEVER
from sidecar.proxy.tls import TlsFailure
from sidecar.proxy.turns import PATIENCE
from sidecar.proxy.vouching.hop import Hop
from sidecar.proxy.vouching.proxies import Peer, far_end

_SLICE: Final = 2048
"""Bytes of ciphertext decrypted in one call: at most 90 records of one byte, or the rest of a longer record."""
_TURN: Final = 32768
"""Bytes of ciphertext for one turn of the event loop, up to the end of a slice; other connections run between turns."""
_RECORDS: Final = 64
"""TLS records for one turn of the event loop, up to the end of a slice."""
_LINGER_BYTES: Final = 4 << 20
"""Bytes that a client may still send after its last answer."""


class ClientConnection(asyncio.Protocol):
    """The server side of one connection."""

    __slots__ = (
        "_far_end",
        "_host",
        "_lingered",
        "_listener",
        "_preface",
        "counted_as",
        "link",
        "listener",
        "peer",
        "rested",
        "since",
        "unjudged",
        "wire",
    )

    def __init__(self, listener: Accepts, host: "Admits[ClientConnection]") -> None:
        self.listener = listener
        """The listener that accepted the connection."""
        self._host = host
        self._preface: bytes | None = None
        self._lingered = 0
        self.link = Link(host, listener.tls.engine())
        self.peer: tuple[str, int] = ("", 0)
        self._far_end: tuple[str, int | None] = ("", None)
        """The TCP peer itself: an IP address, or the user of a Unix socket if a proxy is recognised by it."""
        self.wire: Wire | None = None
        """None until the handshake is over."""
        self.since = NEVER
        """Time of acceptance, in seconds of the clock of deadlines."""
        self.rested = NEVER
        """The wire's deadline when memory was last released; another one shows that a request came since then."""
        self.unjudged = False
        """The trust settings of the listener have changed since the handshake began."""
        self.counted_as: str | None = None
        """The address for which the connection is counted (`admission`); None while it is not known."""

    @property
    def is_busy(self) -> bool:
        """Whether a request is in progress."""
        return self.wire is not None and bool(self.wire.exchanges())

    @property
    def was_permitted(self) -> bool:
        """Whether a request with a token was permitted on this connection."""
        return self.wire is not None and self.wire.was_permitted

    @property
    def held_bytes(self) -> int:
        """Number of bytes that wait here: received and not processed yet, or sent and not read by the client."""
        wire, held = self.wire, self.link.held_bytes
        if wire is None:
            return held
        return held + kept_bytes(wire) + sum([exchange.request.held_bytes for exchange in wire.exchanges()])

    # --- bytes in ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's transport does not inherit it
        link, host = self.link, self._host
        link.open(transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            # An IPv4 client on a dual-stack socket is reported with its IPv4 address.
            self.peer = (str(peer[0]).removeprefix("::ffff:"), int(peer[1]))
        else:
            self.peer = ("unknown", 0)  # a Unix socket; RFC 7239 §6.2
        if self.listener.certificates is not None:
            self._far_end = far_end(transport)
        if not host.admit(self):
            link.abort()
            return
        transport.set_write_buffer_limits(high=host.settings.limits.buffered_bytes)
        self.since = host.now()
        link.deadline = self.since + host.settings.timeouts.handshake
        if self.listener.expects_preface(self.peer[0]):
            link.phase, self._preface = PREFACE, b""
        elif not host.knows_address(self):
            link.abort()
        elif link.engine.established:
            self._continue_handshake()

    def data_received(self, data: bytes) -> None:
        wire = self.wire
        try:
            if wire is None:
                self._receive_first(data)
            elif self.link.unread or (wire.refusals >= PATIENCE and not self._host.is_alone(self)):
                self._wait(data)
            elif len(data) <= _SLICE:
                self._receive(data)
            else:
                self._receive_much(data)
        except Exception as error:  # noqa: BLE001 — a bug must not affect other connections or permit a request
            self._broke(error)

    def _broke(self, error: Exception) -> None:
        self._host.report_bug(error)
        self.link.abort()

    def _receive_first(self, data: bytes) -> None:
        """Handle a part of a handshake. A handshake costs as much as many requests, so it waits for a turn of its
        own.
        """
        phase = self.link.phase
        if phase is LINGER:
            self._receive_late(data)
            return
        if phase is PREFACE:
            data = self._read_preface(data)
        if data and self.link.phase is not CLOSED:
            self._wait(data)

    def _wait(self, data: bytes) -> None:
        """Keep the data until the connection has its turn."""
        link, unread = self.link, self.link.unread
        link.keep(unread + data, _SLICE)
        if not unread:
            self._next_turn()

    def _next_turn(self) -> None:
        wire = self.wire
        self._host.call_soon(self._take_turn, wire.refusals if wire is not None else 0)

    def _receive_much(self, data: bytes) -> None:
        """Process as much as one turn of the event loop allows; the rest waits."""
        link = self.link
        data = link.unread + data if link.unread else data
        engine, at = link.engine, 0
        most = engine.records + _RECORDS
        while (
            at < min(len(data), _TURN)
            and engine.records < most
            and not link.is_held
            and link.phase is not CLOSED
        ):
            size = max(_SLICE, engine.due)
            self._receive(data[at : at + size])
            at += size
        if link.phase is CLOSED:
            return
        link.keep(data[at:])
        if at < len(data):
            self._next_turn()
        elif link.ends_after:
            link.ends_after = False
            if self.wire is not None and not link.is_ending and self.wire.says_no_more():
                self._client_left()

    def _take_turn(self) -> None:
        """Continue with the remaining data; if the wire accepts none now, try again later."""
        if self.link.unread:
            if self.link.is_held:
                self.link.when_released = self._take_turn
                return
            try:
                self._receive_much(b"")
            except Exception as error:  # noqa: BLE001 — as above
                self._broke(error)

    def _receive(self, data: bytes) -> None:
        link = self.link
        phase = link.phase
        if phase is CLOSED or phase is LINGER:
            self._receive_late(data)
            return
        engine = link.engine
        try:
            plaintext = engine.receive(data)
        except TlsFailure as failure:
            self._tls_failed(failure)
            return
        if self.wire is None:
            self._continue_handshake()
        elif not plaintext:
            link.send(engine.outgoing())  # what TLS itself sends: refusal of renegotiation, a key update
        elif engine.speaks:
            engine.speaks = False
            link.send(engine.outgoing())
        wire = self.wire
        if wire is None or link.phase is CLOSED:
            return
        if plaintext:
            wire.receive(plaintext)
        if engine.eof and not link.is_ending and wire.says_no_more():
            self._client_left()

    def _receive_late(self, data: bytes) -> None:
        """Count the data that arrives after the end, and discard it."""
        self._lingered += len(data)
        if self._lingered > _LINGER_BYTES and self.link.phase is LINGER:
            self.link.abort()

    def _read_preface(self, data: bytes) -> bytes:
        """Read the PROXY protocol header, which listed peers must send and others must not."""
        self._preface = preface = (self._preface or b"") + data
        try:
            peer, rest = read_preface(preface)
        except Incomplete:
            return b""
        except NotProxyProtocol as error:
            self._host.observer.handshake("proxy_protocol", self.peer[0], str(error))
            self.link.abort()
            return b""
        if peer is not None:
            self.peer = peer
            if not self._host.knows_address(self):
                self.link.abort()
                return b""
        self._preface, self.link.phase = None, HANDSHAKE
        if self.link.engine.established:
            self._continue_handshake()
        return rest

    def _continue_handshake(self) -> None:
        link, host, listener = self.link, self._host, self.listener
        engine = link.engine
        link.send(engine.outgoing())
        if not engine.established:
            return
        now = host.serving.clock()
        try:
            certificate = engine.client_certificate()
            if listener.certificates is None:
                listener.check_validity(certificate, now)
            if self.unjudged and not listener.tls.accepts(engine.chain()):
                raise TlsFailure("certificate_refused", "no longer accepted")
            protocol = engine.protocol() or HTTP1
            if protocol not in listener.settings.protocols:
                raise TlsFailure("no_application_protocol", f"{protocol} is not offered here")
        except TlsFailure as failure:
            self._tls_failed(failure)
            return
        until = NEVER
        if listener.certificates is None and certificate is not None and certificate.not_after > now:
            until = certificate.not_after
        self._begin(certificate, protocol, until)

    def _begin(self, certificate: ClientCertificate | None, protocol: str, until: float) -> None:
        """Create the wire: the handshake is complete, or the listener has none."""
        link, host, listener, hop = self.link, self._host, self.listener, None
        engine, told = link.engine, listener.certificates
        version, group = engine.negotiated()
        presenter = Presenter(
            certificate if told is None else None,
            listener.settings.name,
            f"{self.peer[0]}:{self.peer[1]}",
            certificate_must_be_valid=listener.requires_valid_certificate,
            tls_version=version,
            tls_group=group,
            protocol=protocol,
        )
        if told is not None:
            peer, user = self._far_end
            hop = Hop(listener, told, Peer(peer, engine.chain(), user), presenter)
            presenter = hop.base
        elif host.serving.endpoints is not None or host.serving.needs_chains:
            presenter.chain = tuple(engine.chain()[1:])
        if listener.settings.tls is not None:
            self._report_handshake(version, group, protocol)
        engine.settle()
        address, believed = self.peer[0], self._is_believed(presenter)
        self.wire = made = wire_for(link, host, presenter, until, address, believed=believed, hop=hop)
        if host.is_shedding(self):
            made.shed()

    def _report_handshake(self, version: str, group: str, protocol: str) -> None:
        observer, engine, address = self._host.observer, self.link.engine, self.peer[0]
        observer.handshake("resumed" if engine.is_resumed() else "full", address)
        observer.negotiated(version, group, protocol)
        if engine.is_unchecked():
            observer.incident("crl_missing", f"an authority of {address}'s chain has no CRL")

    def _is_believed(self, presenter: Presenter) -> bool:
        """Whether forwarded fields about the client from this peer are used."""
        settings = self.listener.settings
        if settings.path:
            return settings.believes_socket and bool(presenter.proxy)
        return self.listener.believes(self.peer[0])

    def _tls_failed(self, failure: TlsFailure) -> None:
        link = self.link
        alert = link.engine.outgoing()
        link.send(PLAIN_HTTP if failure.result == "plain_http" else alert)
        if link.phase is HANDSHAKE:
            self._host.observer.handshake(failure.result, self.peer[0], failure.detail)
        if self.wire is not None:
            link.close()
        else:
            # A refused TLS 1.3 client may be sending its request. An immediate close would discard the alert.
            link.linger()

    # --- the end -------------------------------------------------------------------------------------

    def drain(self, deadline: float) -> None:
        """The server stops soon: see `drain` of each wire. A handshake must be complete by `deadline`."""
        if self.wire is None or self.link.is_ending:
            self.link.deadline = min(self.link.deadline, deadline)
        else:
            self.wire.drain(deadline)

    def judge_again(self) -> None:
        """The trust settings of the listener have changed: end the connection if the client would be refused now."""
        wire = self.wire
        if self.link.phase is CLOSED:
            return
        if wire is not None and wire.hop is not None:
            for exchange in wire.exchanges():
                if not wire.hop.accepts(exchange.record.presenter):
                    overdue.distrust(exchange)
        elif self.listener.settings.clients.closes_on_ca_change:
            if wire is None:
                self.unjudged = True
            elif not self.listener.tls.accepts(self.link.engine.chain()):
                wire.distrust()

    def abort(self) -> None:
        """Close at once and without close_notify, so that the client sees that the answer is incomplete."""
        self.link.abort()

    def expire(self) -> None:
        """The handshake, or the closing of the connection, took too long."""
        if self.link.phase in (HANDSHAKE, PREFACE):
            self._host.observer.handshake("timeout", self.peer[0])
        self.link.abort()

    def _client_left(self) -> None:
        if self.wire is not None:
            self.wire.gone()
        self.link.close()

    def eof_received(self) -> bool:
        wire = self.wire
        if self.link.phase is CLOSED:
            return False
        if self.link.phase in (HANDSHAKE, PREFACE):
            self._host.observer.handshake("client_left", self.peer[0])
        elif wire is not None and self.listener.settings.tls is None and not self.link.is_ending:
            # In plaintext, half-closing TCP has the meaning of close_notify, after what waits for its turn.
            self.link.ends_after = bool(self.link.unread)
            if self.link.ends_after or not wire.says_no_more():
                return True
        self._client_left()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.link.lose()
        try:
            if self.wire is not None:
                self.wire.lost()
        finally:
            self._host.connection_gone(self)

    def pause_writing(self) -> None:
        self.link.blocked_since = self._host.now()
        if self.wire is not None:
            self.wire.blocked()

    def resume_writing(self) -> None:
        self.link.blocked_since = NEVER
        if self.wire is not None:
            self.wire.unblocked()
