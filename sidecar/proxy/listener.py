"""One address that is listened on: its TLS, and whom it believes."""

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
"""OpenSSL compares whole seconds: in its last one a list still holds."""
_ACCEPTED: Final = 16
"""Connections that one turn of the event loop accepts: a new one costs as much as a request that is refused."""
_BACKLOG: Final = 4096
"""Connections that wait in the kernel to be accepted."""


class Listener:
    """Accepts connections on one address."""

    def __init__(self, host: Admits[ClientConnection], settings: ListenerSettings, tls: MakesEngines) -> None:
        self._host = host
        self.settings = settings
        self.certificates: ToldCertificates | None = None
        """Reads the clients' certificates from a field; None: they come with the clients' own TLS."""
        self.take(tls)
        self._sockets: asyncio.Server | None = None
        self.port = settings.port
        """The real port, once listening."""
        self._looked_at = float("inf")

    def a_list_ended(self, now: float) -> bool:
        """Whether a revocation list has ended since this was asked last; `now` is seconds since the epoch."""
        before, self._looked_at = self._looked_at, now
        return any(before <= end + _LAST_SECOND < now for end in self.tls.list_ends)

    def take(self, tls: MakesEngines) -> None:
        """At the beginning and after a reload; connections that are open keep their engine."""
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
            # The peer's user id decides who may speak, not the mode of the file.
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
        """Tell the kernel its own: asyncio accepts in one turn as many as its `backlog` says, uvloop always one."""
        for listening in server.sockets:
            with socket.socket(fileno=os.dup(listening.fileno())) as same:
                same.listen(_BACKLOG)

    def close(self) -> None:
        """Accept no more."""
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None

    def expects_preface(self, host: str) -> bool:
        """Whether a peer must begin with a PROXY protocol header."""
        return contains(self.settings.proxy_protocol_from, host)

    def believes(self, host: str) -> bool:
        """Whether what a peer forwards about its client is taken for true."""
        return contains(self.settings.forwarded_from, host)

    @property
    def requires_valid_certificate(self) -> bool:
        """With `trust: ca` a certificate counts only while it is valid."""
        return self.settings.requires_valid_certificate

    def check_validity(self, certificate: ClientCertificate | None, now: float) -> None:
        """A resumed session is not verified again, so its certificate's validity is. Raises `TlsFailure`."""
        if certificate is not None and self.requires_valid_certificate and certificate.not_after < now:
            raise TlsFailure("certificate_expired", "the certificate of the resumed session has expired")
