"""One address that is listened on: its TLS, and whom it believes."""

import asyncio
import ipaddress

from sidecar.decision.request import ClientCertificate
from sidecar.proxy.client.connection import ClientConnection
from sidecar.proxy.client.host import Admits, MakesEngines
from sidecar.proxy.configuration import ListenerSettings, Trust
from sidecar.proxy.tls import TlsFailure

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def contains(networks: Networks, host: str) -> bool:
    """Whether an IP address is in one of the networks; an IPv4-mapped IPv6 address counts as IPv4."""
    if not networks:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


class Listener:
    """Accepts connections on one address."""

    def __init__(self, host: Admits[ClientConnection], settings: ListenerSettings, tls: MakesEngines) -> None:
        self._host = host
        self.settings = settings
        self.tls = tls
        """Replaced by a reload; connections that are open keep their engine."""
        self._sockets: asyncio.Server | None = None
        self.port = settings.port
        """The real port, once listening."""

    async def open(self, *, reuse_port: bool = False) -> None:
        """Begin to listen. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._sockets = await loop.create_server(
            lambda: ClientConnection(self, self._host),
            None if self.settings.host == "*" else self.settings.host,
            self.settings.port,
            backlog=4096,
            reuse_port=reuse_port or None,
        )
        self.port = self._sockets.sockets[0].getsockname()[1]

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
        return self.settings.tls.trust is Trust.CA

    def check_validity(self, certificate: ClientCertificate | None, now: float) -> None:
        """A resumed session is not verified again, so its certificate's validity is. Raises `TlsFailure`."""
        if certificate is not None and self.requires_valid_certificate and certificate.not_after < now:
            raise TlsFailure("certificate_expired", "the certificate of the resumed session has expired")
