"""One address on which the sidecar listens: its TLS, and the peers that it trusts."""

import asyncio
import os
import socket
from typing import Final

from sidecar.decision.request import ClientCertificate
from sidecar.proxy.client.connection import ClientConnection
from sidecar.proxy.client.host import Admits, MakesEngines
from sidecar.proxy.configuration import ListenerSettings
from sidecar.proxy.networks import contains
from sidecar.proxy.tls import TlsFailure
from sidecar.proxy.vouching.hop_tls import HopTls
from sidecar.proxy.vouching.told import ToldCertificates

_LAST_SECOND = 1.0
"""OpenSSL compares whole seconds: a list is still valid in its last second."""
_ACCEPTED: Final = 16
"""Connections accepted in one turn of the event loop: a new one costs as much as a refused request."""
_BACKLOG: Final = 4096
"""Connections that the kernel queues until they are accepted."""


class Listener:
    """Accepts connections on one address."""

    def __init__(self, host: Admits[ClientConnection], settings: ListenerSettings, tls: MakesEngines) -> None:
        self._host = host
        self.settings = settings
        self.certificates: ToldCertificates | None = None
        """Reads the clients' certificates from a field; None if they come from the clients' own TLS."""
        self.take(tls)
        self._sockets: asyncio.Server | None = None
        self.port = settings.port
        """The real port, once listening."""
        self._looked_at = float("inf")

    def a_list_ended(self, now: float) -> bool:
        """Whether a revocation list has ended since the last call; `now` is seconds since the epoch."""
        before, self._looked_at = self._looked_at, now
        return any(before <= end + _LAST_SECOND < now for end in self.tls.list_ends)

    def take(self, tls: MakesEngines) -> None:
        """Set the configuration, at start and after a reload; open connections keep their engine."""
        self.tls = tls
        self.certificates = tls.certificates if isinstance(tls, HopTls) else None

    async def open(self, *, reuse_port: bool = False) -> None:
        """Begin to listen. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        if self.settings.path:
            self._sockets = await loop.create_unix_server(
                lambda: ClientConnection(self, self._host), self.settings.path, backlog=_ACCEPTED
            )
            self._lengthen_backlog(self._sockets)
            # The peer's user id is checked, not the mode of the file.
            os.chmod(self.settings.path, 0o666)  # noqa: PTH101, S103 — at once, it was made just now
            return
        self._sockets = await loop.create_server(
            lambda: ClientConnection(self, self._host),
            None if self.settings.host == "*" else self.settings.host,
            self.settings.port,
            backlog=_ACCEPTED,
            reuse_port=reuse_port or None,
        )
        self._lengthen_backlog(self._sockets)
        self.port = self._sockets.sockets[0].getsockname()[1]

    @staticmethod
    def _lengthen_backlog(server: asyncio.Server) -> None:
        """Set the kernel's backlog: asyncio accepts as many connections per turn as `backlog`, uvloop always one."""
        for listening in server.sockets:
            with socket.socket(fileno=os.dup(listening.fileno())) as same:
                same.listen(_BACKLOG)

    def close(self) -> None:
        """Accept no more connections."""
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None

    def expects_preface(self, host: str) -> bool:
        """Whether a peer must begin with a PROXY protocol header."""
        return contains(self.settings.proxy_protocol_from, host)

    def believes(self, host: str) -> bool:
        """Whether forwarded fields about the client from this peer are used."""
        return contains(self.settings.forwarded_from, host)

    @property
    def requires_valid_certificate(self) -> bool:
        """With `trust: ca` a certificate is accepted only while it is valid."""
        return self.settings.requires_valid_certificate

    def check_validity(self, certificate: ClientCertificate | None, now: float) -> None:
        """Check the validity period, because a resumed session is not verified again. Raises `TlsFailure`."""
        if certificate is not None and self.requires_valid_certificate and certificate.not_after < now:
            raise TlsFailure("certificate_expired", "the certificate of the resumed session has expired")
