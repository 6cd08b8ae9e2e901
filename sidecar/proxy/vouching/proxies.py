"""Decides which peers may forward a client's certificate."""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha256
from socket import SO_PEERCRED, SOL_SOCKET
from struct import Struct
from typing import Final

from sidecar.decision.certificate import AlternativeNames, Certificate, Unreadable
from sidecar.decision.certificate_condition import is_spiffe_id
from sidecar.decision.glob import Glob
from sidecar.decision.strict import base64url_text
from sidecar.proxy.certificates import UnusableCertificate, client_certificate
from sidecar.proxy.configuration import TrustedProxy, TrustSettings
from sidecar.proxy.networks import contains
from sidecar.proxy.tls.verification import ChainVerification, chain_verification

_NEVER: Final = float("inf")
_CREDENTIALS: Final = Struct("3i")
"""struct ucred (unix(7)): process, user and group."""


class Peer:
    """The other end of one connection, by properties that it cannot choose."""

    __slots__ = ("chain", "host", "user")

    def __init__(self, host: str, chain: Sequence[bytes] = (), user: int | None = None) -> None:
        self.host = host
        """IP address of the TCP peer, not that of the PROXY protocol or a header; empty on a Unix socket."""
        self.chain = tuple(chain)
        """Its certificates from its own TLS, DER, the leaf first; empty: none."""
        self.user = user
        """User id of the process at a Unix socket (SO_PEERCRED)."""

    @property
    def called(self) -> str:
        """Its name for display."""
        return self.host if self.user is None else f"unix user {self.user}"


class Proxies:
    """The listed proxies."""

    def __init__(self, listed: Sequence[TrustedProxy]) -> None:
        """Reads authorities. Raises `OSError` and `ValueError`."""
        self._networks = tuple(one.network for one in listed if one.network is not None)
        self._users = frozenset(one.unix_user for one in listed if one.unix_user is not None)
        self._thumbprints = frozenset(one.thumbprint for one in listed if one.thumbprint)
        self._named = [_Named(one) for one in listed if one.spiffe_id or one.san_dns]

    def name_of(self, peer: Peer) -> str:
        """The name for records of a listed peer; empty if it is not listed."""
        if peer.user is not None and peer.user in self._users:
            return peer.called
        if contains(self._networks, peer.host):
            return peer.host
        if not peer.chain:
            return ""
        digest = sha256(peer.chain[0]).digest()
        if digest in self._thumbprints:
            return f"thumbprint {base64url_text(digest)}"
        return next((name for one in self._named if (name := one.name_of(peer))), "")

    def until(self, peer: Peer) -> float:
        """Seconds since the epoch: until when a peer that is listed by a name is accepted."""
        if not peer.chain or not self._named or self._is_known_otherwise(peer):
            return _NEVER
        return client_certificate(peer.chain[0]).not_after

    def _is_known_otherwise(self, peer: Peer) -> bool:
        return contains(self._networks, peer.host) or sha256(peer.chain[0]).digest() in self._thumbprints


class _Named:
    """A listed name in the peer's own certificate, and the authority that must have issued it."""

    def __init__(self, listed: TrustedProxy) -> None:
        assert listed.ca_file is not None  # noqa: S101 — the settings refuse a name without one
        self._chains: ChainVerification = chain_verification(TrustSettings(ca_file=listed.ca_file))
        pattern, separator = (listed.spiffe_id, "/") if listed.spiffe_id else (listed.san_dns.lower(), ".")
        self._fits: Callable[[str], bool] = (
            Glob(pattern, separator).fits if "*" in pattern else pattern.__eq__
        )
        self._is_spiffe = bool(listed.spiffe_id)

    def name_of(self, peer: Peer) -> str:
        """The listed name of a peer whose chain is valid now; else empty."""
        try:
            names = client_certificate(peer.chain[0]).alternative_names
        except UnusableCertificate:
            return ""
        fitting = next((name for name in self._names(names) if self._fits(name)), "")
        return fitting if fitting and self._chains.accepts(peer.chain) else ""

    def _names(self, names: AlternativeNames | Unreadable) -> Sequence[str]:
        if isinstance(names, Unreadable):
            return ()
        if not self._is_spiffe:
            return [name.lower() for name in names.dns]
        # X.509-SVID §2: exactly one URI SAN.
        return names.uri if len(names.uri) == 1 and is_spiffe_id(names.uri[0]) else ()


def far_end(transport: asyncio.BaseTransport) -> tuple[str, int | None]:
    """The IP address of the other end of a connection, or the user id of the peer of a Unix socket."""
    peer = transport.get_extra_info("peername")
    if isinstance(peer, tuple):
        return str(peer[0]), None
    socket = transport.get_extra_info("socket")
    credentials = socket.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size)
    return "", int(_CREDENTIALS.unpack(credentials)[1])


def own_certificate(peer: Peer, certificate: Certificate) -> bool:
    """Whether a certificate is the one that the peer itself used in its TLS."""
    return bool(peer.chain) and peer.chain[0] == certificate.der
