"""The facts of one request, as the transport saw them: what the decision may look at, and nothing else."""

from ipaddress import IPv6Address, ip_network
from typing import Final

from sidecar.decision.access_token import LastPresented
from sidecar.decision.client_certificate import ClientCertificate
from sidecar.decision.failure import Denied
from sidecar.decision.query import TooManyNames, names_in
from sidecar.decision.reason import Reason

__all__ = ["ClientCertificate", "Presenter", "RequestHead"]


_FOREVER: Final = float("inf")


class RequestHead:
    """The part of an HTTP request that a decision may look at. Treat as immutable.

    No dataclass, because the `__init__` of one is not compiled, and this is made for every request.
    """

    __slots__ = (
        "_folded_query_names",
        "_query_names",
        "authorization",
        "host",
        "method",
        "path",
        "preflight",
        "proofs",
        "query",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: str,
        path: str,
        query: str,
        host: str,
        *,
        authorization: tuple[str, ...] = (),
        preflight: bool = False,
        proofs: tuple[str, ...] = (),
    ) -> None:
        self.method = method
        """Case-sensitive, as received (RFC 9110 §9.1)."""
        self.target = target
        """The request target exactly as received and as forwarded (RFC 9112 §3.2)."""
        self.path = path
        """The absolute-path of the target, not decoded; `*` for asterisk-form."""
        self.query = query
        """What follows the first `?`, without it; empty when there is none."""
        self.host = host
        """For matching only: lower case, without port and trailing dot."""
        self.authorization = authorization
        """Every `Authorization` field value, in order (RFC 9110 §11.6.2)."""
        self.proofs = proofs
        """Every `DPoP` field value, in order (RFC 9449 §4.1)."""
        self._query_names: frozenset[str] | None = None
        self._folded_query_names: frozenset[str] | None = None
        self.preflight = preflight
        """OPTIONS with `Origin` and `Access-Control-Request-Method`, without a body: a CORS preflight (Fetch standard
        §4.8).
        """

    @property
    def query_names(self) -> frozenset[str]:
        """The names in the query, as some reader could find them; worked out once.

        Raises `Denied` (target_too_long).
        """
        if self._query_names is None:
            try:
                self._query_names = names_in(self.query)
            except TooManyNames as limit:
                raise Denied(Reason.TARGET_TOO_LONG, "query", str(limit), "more") from None
        return self._query_names

    @property
    def folded_query_names(self) -> frozenset[str]:
        """`query_names` without case; worked out once. Raises `Denied` (target_too_long)."""
        if self._folded_query_names is None:
            self._folded_query_names = frozenset([name.casefold() for name in self.query_names])
        return self._folded_query_names


class Presenter:
    """Who presents the token, as the TLS layer of this very connection saw it (RFC 7800 §2), or as the proxy that ended
    the client's TLS says (RFC 9440).

    One per connection, or one per connection and certificate where a proxy says. Treat as immutable, but for what it
    remembers.
    """

    __slots__ = (
        "certificate_must_be_valid", "chain", "client_certificate", "ends", "is_told", "last_presented", "lines",
        "listener", "peer", "protocol", "proxy", "tls_group", "tls_version", "valid_until",
    )  # fmt: skip

    def __init__(
        self,
        client_certificate: ClientCertificate | None,
        listener: str,
        peer: str,
        *,
        certificate_must_be_valid: bool = False,
        tls_version: str = "",
        tls_group: str = "",
        protocol: str = "http/1.1",
        chain: tuple[bytes, ...] = (),
        is_told: bool = False,
        proxy: str = "",
        ends: float = _FOREVER,
    ) -> None:
        self.client_certificate = client_certificate
        """None when the client presented none."""
        self.listener = listener
        """The listener's name or address."""
        self.peer = peer
        """`host:port` of the other end, for the audit record."""
        self.certificate_must_be_valid = certificate_must_be_valid
        """The listener's `trust` is `ca`: an authority vouched for the certificate."""
        self.tls_version = tls_version
        """`1.3` or `1.2`; empty: not known."""
        self.tls_group = tls_group
        """The group of the key exchange (RFC 8446 §4.2.7), by its name in the settings; empty: not known."""
        self.chain = chain
        """The certificates that came with the client's, DER; filled only where somebody asks for them."""
        self.protocol = protocol
        """What HTTP is spoken on the connection, by its name in the handshake (RFC 7301 §6): `h2` or `http/1.1`."""
        self.is_told = is_told
        """A proxy that ended the client's TLS says which certificate it is."""
        self.proxy = proxy
        """Which proxy may say so; empty: none, the peer is not listed."""
        self.ends = ends
        """Seconds since the epoch: when a stream of this presenter must end. Where the connection is the client's own
        it ends by the connection's certificate (`ClientStream.certificate_until`).
        """
        self.valid_until: float = _FOREVER
        """Seconds since the epoch. Where the listener's `trust` is `ca`, not_after of the certificate counts on every
        request, not only in the handshake.
        """
        if client_certificate is not None and certificate_must_be_valid:
            self.valid_until = float(client_certificate.not_after)  # compiled: an int is no float
        self.lines: dict[str, str] = {}
        """What telemetry made of this connection's constants; it dies with the connection."""
        self.last_presented: LastPresented | None = None
        """The credentials that came last, if their token was known; None after `rest`."""

    def rest(self) -> None:
        """The connection is idle: an idle connection keeps no token."""
        self.last_presented = None

    @property
    def source(self) -> str:
        """Who is counted where one of many may not use up what all share.

        The certificate, where an authority vouched for it; else the address, since a certificate that nobody has to
        sign can be made at will. One user of IPv6 has a whole /64 (RFC 6177), so that is what counts.
        """
        if self.certificate_must_be_valid and self.client_certificate is not None:
            return self.client_certificate.thumbprint_text
        return address_source(self.peer.rpartition(":")[0])


def address_source(address: str) -> str:
    """What an IP address is counted as: itself or, of IPv6, its /64."""
    if ":" not in address:
        return address
    try:
        return str(ip_network((int(IPv6Address(address.partition("%")[0])), 64), strict=False))
    except ValueError:
        return address
