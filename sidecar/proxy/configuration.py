"""Settings of the data plane. `settings/` makes them and checks every value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import MappingProxyType

from sidecar.http.answer import Wording
from sidecar.http.certificate_field import CertificateFormat
from sidecar.http.certificate_header import CertificateHeader
from sidecar.http.claimed_identity import ClaimedIdentity
from sidecar.http.fields import FieldRules

CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
"""id-kp-clientAuth (RFC 5280 §4.2.1.12)."""
HTTP1 = "http/1.1"
HTTP2 = "h2"
"""Protocols by their ALPN names (RFC 7301 §6)."""
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
"""id-kp-serverAuth."""


class Trust(Enum):
    """Which client certificates a listener accepts in the handshake."""

    ANY = "any"
    """Possession of the key is sufficient (RFC 8705 §6.2)."""
    CA = "ca"
    """The chain must verify against `ca_file`."""


class AtHandshake(Enum):
    """Whether a handshake without a client certificate succeeds."""

    OPTIONAL = "optional"
    REQUIRED = "required"


class CrlRequired(Enum):
    """Which issuers must have a revocation list, if there are lists at all."""

    LEAF = "leaf"
    """The issuer of the client's certificate; an authority without a list is counted."""
    CHAIN = "chain"
    """The issuers of all certificates of the chain, including the root's."""


@dataclass(frozen=True, slots=True)
class ChainTerms:
    """Requirements of a chain, in addition to ending in an authority."""

    extended_key_usage: frozenset[str] = frozenset({CLIENT_AUTH})
    crl_required_for: CrlRequired = CrlRequired.LEAF
    partial_chain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings:
    """Which client certificates are accepted."""

    trust: Trust = Trust.ANY
    ca_file: Path | None = None
    crl_file: Path | None = None
    close_on_ca_change: bool | None = None
    """When authorities or lists change, close connections whose client certificate is no longer accepted; None: with
    a `crl_file`.
    """
    crl_required_for: CrlRequired = CrlRequired.LEAF
    partial_chain: bool = False
    """A chain may end in an authority of `ca_file` that is not a root."""
    extended_key_usage: frozenset[str] = frozenset({CLIENT_AUTH})
    """Purposes, as dotted object identifiers: each certificate of a chain must have one of them, or state none at all
    (RFC 5280 §4.2.1.12); empty: any.
    """

    @property
    def chain_terms(self) -> ChainTerms:
        """The requirements of clients' chains."""
        return ChainTerms(self.extended_key_usage, self.crl_required_for, self.partial_chain)

    @property
    def closes_on_ca_change(self) -> bool:
        """The effective value of `close_on_ca_change`."""
        return self.crl_file is not None if self.close_on_ca_change is None else self.close_on_ca_change


@dataclass(frozen=True, slots=True)
class TlsSettings(TrustSettings):
    """One listener's TLS."""

    certificate_file: Path
    private_key_file: Path
    minimum_version: str = "1.2"
    """`1.2` or `1.3`."""
    groups: tuple[str, ...] = ()
    """Key exchange groups (`sidecar.decision.key_exchange`), the preferred first; empty: OpenSSL's default."""
    at_handshake: AtHandshake = AtHandshake.OPTIONAL
    session_lifetime: float = 3600.0
    """Seconds a session may be resumed."""
    resumes: bool = True
    """Whether a session may be resumed at all: a resumed one has only the leaf of the client's chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedProxy:
    """A peer that may forward client certificates. Exactly one attribute is set, and an authority with a name."""

    network: IPv4Network | IPv6Network | None = None
    """The address of the TCP peer."""
    spiffe_id: str = ""
    """Pattern of the only URI in the proxy's own certificate."""
    san_dns: str = ""
    """Pattern of a dNSName in that certificate."""
    ca_file: Path | None = None
    """The authorities that must have issued it."""
    thumbprint: bytes = b""
    """SHA-256 of that certificate."""
    unix_user: int | None = None
    """User id of the process at the other end of a Unix socket."""

    @property
    def comes_by_certificate(self) -> bool:
        """Whether it is identified by its own mutual TLS."""
        return bool(self.spiffe_id or self.san_dns or self.thumbprint)


@dataclass(frozen=True, slots=True)
class ToldCertificateSettings:
    """The client's certificate comes in a header field, from a proxy that terminated the client's TLS (RFC 9440)."""

    format: CertificateFormat
    name: str
    """Name of the field."""
    chain_name: str
    """Name of the field of the chain; empty if the format has none."""
    proxies: tuple[TrustedProxy, ...]
    trust: TrustSettings = TrustSettings()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields that are read."""
        return (self.name, self.chain_name) if self.chain_name else (self.name,)


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """One address on which the sidecar listens."""

    name: str
    host: str
    """Empty for a Unix socket."""
    port: int
    """0 for a Unix socket."""
    tls: TlsSettings | None
    """None: plaintext, on loopback or a Unix socket; then `told` is set."""
    proxy_protocol_from: tuple[IPv4Network | IPv6Network, ...] = ()
    """Peers that must send a PROXY protocol header; empty: none may."""
    forwarded_from: tuple[IPv4Network | IPv6Network, ...] = ()
    """Peers whose Forwarded and X-Forwarded-* are used; empty: none."""
    protocols: tuple[str, ...] = (HTTP1,)
    """Protocols to offer by ALPN (RFC 7301), the preferred first: `HTTP2`, `HTTP1`."""
    path: str = ""
    """Path of a Unix socket."""
    believes_socket: bool = False
    """Whether Forwarded and X-Forwarded-* of the listed users of the Unix socket are used."""
    told: ToldCertificateSettings | None = None
    """The client's certificate comes in a header field; None: from the connection's own TLS."""

    @property
    def clients(self) -> TrustSettings:
        """Which client certificates are accepted, whatever their source."""
        if self.told is not None:
            return self.told.trust
        assert self.tls is not None  # noqa: S101 — one of the two is always set
        return self.tls

    @property
    def requires_valid_certificate(self) -> bool:
        """With `trust: ca` a certificate is accepted only while it is valid."""
        return self.clients.trust is Trust.CA

    @property
    def own_files(self) -> tuple[Path, ...]:
        """Files with certificates of the server, the clients' authorities and the proxies, which are not a client's."""
        files = [self.clients.ca_file, *(one.ca_file for one in (self.told.proxies if self.told else ()))]
        if self.tls is not None:
            files.insert(0, self.tls.certificate_file)
        return tuple(file for file in files if file is not None)

    def place(self, port: int | None = None) -> str:
        """The address for display; `port` is the real one."""
        return f"unix://{self.path}" if self.path else f"{self.host}:{self.port if port is None else port}"


@dataclass(frozen=True, slots=True)
class UpstreamTlsSettings:
    """TLS towards the protected resource."""

    ca_file: Path | None = None
    """None: the system's trust store."""
    server_name: str | None = None
    """SNI and the name to verify; None: the URL's host."""
    certificate_file: Path | None = None
    private_key_file: Path | None = None
    strict_certificates: bool = False
    """Refuse server certificates without what RFC 5280 §4.2 demands."""


@dataclass(frozen=True, slots=True)
class CertificateHeaderSettings:
    """How the API gets the client's certificate."""

    format: CertificateFormat
    name: str
    """Name of the header field."""
    chain: bool = False
    """Whether the certificates above the client's certificate are sent too."""

    @property
    def chain_name(self) -> str:
        """Name of the field of the chain (RFC 9440 §2.3); empty if the format has none."""
        return "Client-Cert-Chain" if self.format is CertificateFormat.RFC9440 else ""

    @property
    def names(self) -> frozenset[str]:
        """All fields in which the API may read a certificate: no client may send them."""
        return frozenset({self.name, self.chain_name} - {""})

    def writer(self) -> CertificateHeader:
        """Makes the field lines."""
        return CertificateHeader(self.format, self.name, self.chain_name, tells_chain=self.chain)


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """The protected resource behind the sidecar."""

    scheme: str
    """`http`, `https` or `unix`."""
    host: str
    """Host name or IP address; empty for `unix`."""
    port: int
    """0 for `unix`."""
    path: str = ""
    """Socket path for `unix`."""
    tls: UpstreamTlsSettings = UpstreamTlsSettings()
    connect_timeout: float = 2.0
    response_timeout: float = 60.0
    """Seconds from the end of the request to the response head."""
    idle_timeout: float = 4.0
    """Seconds for which an idle pooled connection is kept: fewer than the 5 of Node.js."""
    stream_timeout: float = 300.0
    """Seconds without a byte in either direction in a body or a tunnel; 0: none."""
    total_timeout: float = 0.0
    """Seconds for a whole exchange; 0: no limit."""
    max_connections: int = 256
    max_waiting: int = 1024
    """Maximum number of requests that wait for a connection; above it: 503."""
    resolve_interval: float = 30.0
    """Seconds between DNS look-ups of `host`."""
    rewrites_redirects: bool = True
    """Whether a redirect to the API's own address is rewritten to the origin of the client's request."""
    protocol: str = HTTP1
    """`HTTP1`, or `HTTP2`: over TLS as negotiated, in plaintext by prior knowledge."""
    forward_token: bool = False
    identity_headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Header name → claim name."""
    client_certificate_header: CertificateHeaderSettings | None = None
    """None: the API does not get it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits. Sizes in bytes; 0 means none if the attribute says so."""

    target_bytes: int = 8192
    header_bytes: int = 32768
    headers: int = 100
    trailer_bytes: int = 8192
    chunk_extension_bytes: int = 4096
    token_bytes: int = 16384
    body_bytes: int = 0
    """0: none."""
    connections: int = 3000
    connections_per_address: int = 0
    """For IPv6, per /64; 0: none."""
    requests_per_connection: int = 0
    """0: none."""
    concurrent_streams: int = 100
    """Concurrent requests on one HTTP/2 connection."""
    stream_resets: int = 200
    """Burst of requests that an HTTP/2 client may cancel before they are answered; a tenth of it is added per second.
    """
    buffered_bytes: int = 65536
    """Bytes kept in memory per direction while a reader is slow."""
    cached_tokens: int = 100_000
    cached_bytes: int = 32 << 20
    """Bytes of memory for cached tokens."""
    identity_header_bytes: int = 8192
    """Injected headers larger than this are counted, with a warning."""
    memory_bytes: int | None = None
    """Resident bytes above which new connections are refused; 0: none; None: by the container's limit."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Deadlines, in seconds."""

    handshake: float = 10.0
    request_head: float = 10.0
    body_rate_bytes: int = 64
    """Minimum bytes per second of a request body, averaged over `body_rate_window`."""
    body_rate_window: float = 20.0
    idle: float = 75.0
    drain: float = 30.0
    write: float = 60.0
    """Seconds for which a client may leave a full send buffer unread."""
    expiry_grace: float = 0.0
    """Seconds for which a stream may continue after its token or certificate has expired."""
    connection_age: float = 0.0
    """Seconds after which a client connection accepts no further request; 0: none."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """All settings of the data plane."""

    listeners: tuple[ListenerSettings, ...]
    upstream: UpstreamSettings
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    hand_over_headers: frozenset[str] = frozenset()
    """Names of the fields that send an authorization server a certificate. Removed from every request."""
    rule_identity_headers: frozenset[str] = frozenset()
    """Names of the identity headers that single rules set. Removed from every request, whatever its rule."""
    realm: str | None = None
    """`realm` of challenges (RFC 9110 §11.5)."""
    keep_headers_with_underscores: bool = False
    """Forwards names with `_` to an upstream that may treat them like `-`, which permits spoofing."""
    disclose_reasons: bool = True
    """Whether `error_description` states the reason."""
    problem_types: str | None = None
    """Base URI: with the reason appended, it is the `type` of a problem (RFC 9457 §3.1.1)."""
    strip_headers: frozenset[str] = frozenset()
    """More headers that claim an identity: forwarded only from peers in `forwarded_from`."""
    keep_headers: frozenset[str] = frozenset()
    """Headers that claim an identity and that every client may send."""
    refuse_method_overrides: bool = False
    """Rules match methods, so no header may ask the API for another method."""

    def field_rules(self) -> FieldRules:
        """The classification of the header fields of requests."""
        return FieldRules(
            self.identity_names,
            keep_underscores=self.keep_headers_with_underscores,
            claimed=ClaimedIdentity(self.strip_headers, self.keep_headers),
            refuse_method_overrides=self.refuse_method_overrides,
            certificates=[name for one in self.listeners if one.told is not None for name in one.told.names],
        )

    def wording(self, resource_metadata: str | None) -> Wording:
        """The configured parts of answers to denials; `resource_metadata` is the URL of the metadata, if it is
        published.
        """
        return Wording(self.realm, resource_metadata, self.disclose_reasons, self.problem_types)

    @property
    def identity_names(self) -> frozenset[str]:
        """All headers that state a client's identity in any setting: no client may send them."""
        header = self.upstream.client_certificate_header
        certificate = header.names if header is not None else frozenset()
        ours = self.rule_identity_headers.union(self.upstream.identity_headers, certificate)
        return ours | self.hand_over_headers
