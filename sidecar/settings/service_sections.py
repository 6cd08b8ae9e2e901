"""The sections of the service file. Each value is described here once; `sidecar schema` shows it in editors."""

from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from sidecar.settings.files import CertificateFile
from sidecar.settings.listener_sections import CERTIFICATE_FIELDS, OURS, WITH_CHAIN, Format, is_loopback
from sidecar.settings.own_certificate import OwnCertificate
from sidecar.settings.problem import shown
from sidecar.settings.scalars import Duration, HeaderName, Size, Text
from sidecar.settings.section import Section, mistake

Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]
_WINDOW_MOST: Final = (1 << 31) - 1
"""The largest window of HTTP/2 (RFC 9113 §6.9.1)."""


class UpstreamTls(OwnCertificate):
    """TLS towards the protected resource; with an https:// URL."""

    ca_file: CertificateFile | None = None
    """The authorities to trust, roots or not. Default: the system's authorities."""
    strict_certificates: bool | None = None
    """Refuse certificates without the extensions that RFC 5280 §4.2 demands. Default: false."""
    server_name: Text | None = None
    """SNI, and the name to verify. Default: the URL's host."""


def _identity_headers(value: object) -> object:
    """No header that HTTP itself or the sidecar has a use for, and none twice in two spellings."""
    if isinstance(value, dict):
        seen: dict[str, str] = {}
        for name in value:
            folded = str(name).lower()
            if folded in OURS:
                raise ValueError(f"{shown(name)} cannot carry a claim")
            if folded in seen:
                raise ValueError(f"{shown(name)} and {shown(seen[folded])} are the same header")
            seen[folded] = name
    return value


IdentityHeaders = Annotated[dict[HeaderName, Text], BeforeValidator(_identity_headers)]
"""Header → claim."""


def upstream_url(value: object) -> str:
    """The URL of an upstream, as it was written. Raises ValueError for what cannot be forwarded to."""
    if not isinstance(value, str):
        raise ValueError(f"expected a URL, got {shown(value)}")  # noqa: TRY004 — pydantic collects ValueError
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        raise ValueError(f"{shown(value)} is not a URL: write http://host:port or unix:///path") from None
    if url.scheme == "unix":
        if url.netloc or not url.path.startswith("/") or url.query or url.fragment or "\0" in value:
            raise ValueError("a Unix socket is written unix:///run/api.sock")
    elif url.scheme not in {"http", "https"} or not url.hostname or port == 0:
        raise ValueError(f"{shown(value)} is not http://host:port, https://host:port or unix:///path")
    elif url.path not in {"", "/"} or url.query or url.fragment or url.username is not None:
        raise ValueError("only scheme, host and port: paths are forwarded unchanged")
    return value


class CertificateHeaderSection(Section):
    """The client's certificate, sent to the API in a header field (RFC 9440). A field of this name from the client is
    removed first.
    """

    format: Format
    """The format: that of RFC 9440, Envoy, nginx, Apache or HAProxy."""
    name: HeaderName | None = None
    """Name of the field. Default: Client-Cert for rfc9440, X-Forwarded-Client-Cert for xfcc; the others have none."""
    chain: bool | None = None
    """true: also the certificates above the client's; TLS sessions are then not resumed. Default: false."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.chain and self.format not in WITH_CHAIN:
            raise mistake(f"`{self.format}` has no field for a chain", "chain")
        if self.name is None and self.format not in CERTIFICATE_FIELDS:
            raise mistake(
                f"`{self.format}` has no default name: set `name` to the field that the API reads", "name"
            )
        if self.name is not None and self.name.lower() in OURS:
            raise mistake(f"{shown(self.name)} cannot carry a certificate", "name")
        return self


def is_within_reach_of_others(url: str) -> bool:
    """Whether others on the network could call the API directly, or listen."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    return not is_loopback(parts.hostname or "")


class Upstream(Section):
    """The protected resource behind the sidecar."""

    url: Annotated[
        str,
        BeforeValidator(upstream_url),
        WithJsonSchema({"type": "string", "pattern": "^(https?://|unix:///)"}),
    ]
    """http://host:port, https://host:port or unix:///path."""
    tls: UpstreamTls | None = None
    connect_timeout: Duration | None = None
    """Default: 2s."""
    response_timeout: Duration | None = None
    """Time from the end of the request to the head of the response. Default: 60s."""
    idle_timeout: Duration | None = None
    """How long an unused connection is kept; shorter if the API says so in Keep-Alive. Default: 4s."""
    stream_timeout: Duration | None = None
    """Time without a byte in either direction of a body or a tunnel. Default: 5m; 0s: none."""
    total_timeout: Duration | None = None
    """For a whole exchange. Default: 0s, none."""
    max_connections: Positive | None = None
    """Default: 256."""
    max_waiting: Count | None = None
    """Requests that may wait for a connection; past it 503. Default: 1024."""
    resolve_interval: Duration | None = None
    """Time between look-ups of the host's name. Default: 30s."""
    redirects: Literal["rewrite", "pass"] | None = None
    """`rewrite`: Location and Content-Location with the API's own loopback address, or with the client's host and
    http://, get the address that the client used. `pass`: they are forwarded unchanged. Default: rewrite."""
    protocol: Literal["http/1.1", "h2"] | None = None
    """What the API speaks: `h2` is HTTP/2, over TLS by negotiation in the handshake, otherwise with prior knowledge.
    Default: http/1.1."""
    forward_token: bool | None = None
    """true: the API sees the Authorization field. Default: false."""
    identity_headers: IdentityHeaders | None = None
    """Header → claim. Every spelling of these headers is stripped from the request first."""
    client_certificate_header: CertificateHeaderSection | None = None
    """Sends the client's certificate to the API; without this key it is not sent."""

    @model_validator(mode="after")
    def _tls(self) -> Self:
        if self.tls is not None and not self.url.startswith("https:"):
            raise mistake("`tls` has no effect without an https:// URL", "tls")
        return self

    @model_validator(mode="after")
    def _certificate_header(self) -> Self:
        header = self.client_certificate_header
        if header is None:
            return self
        if is_within_reach_of_others(self.url):
            raise mistake(
                "a caller that reaches the API directly could send any certificate:"
                " use https://, loopback or a Unix socket",
                "client_certificate_header",
            )
        name = header.name or CERTIFICATE_FIELDS[header.format]
        if any(name.lower() == other.lower() for other in self.identity_headers or ()):
            raise mistake(f"{shown(name)} is among `identity_headers`", "client_certificate_header")
        return self


class LimitsSection(Section):
    """Limits for clients. 0 means no limit where the key says so."""

    target_bytes: Size | None = None
    """Length of the request target. Default: 8KiB; past it 414."""
    header_bytes: Size | None = None
    """Length of all header fields. Default: 32KiB; past it 431."""
    headers: Positive | None = None
    """Number of header fields. Default: 100."""
    trailer_bytes: Size | None = None
    """Default: 8KiB."""
    chunk_extension_bytes: Size | None = None
    """Default: 4KiB."""
    token_bytes: Size | None = None
    """Length of the access token. Default: 16KiB; past it 400."""
    body_bytes: Size | None = None
    """Length of a request body. Default: 0, none; past it 413."""
    connections: Positive | None = None
    """Default: 3000."""
    connections_per_address: Count | None = None
    """Connections of one client's address (IPv6: its /64); past it closed at once. Default: 0, none."""
    requests_per_connection: Count | None = None
    """Default: 0, none."""
    concurrent_streams: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Requests in progress at a time on one HTTP/2 connection. Default: 100."""
    stream_resets: Positive | None = None
    """Unanswered requests that an HTTP/2 client may cancel, in a burst; a tenth as many more each second. Past it
    the connection ends. Default: 200."""
    buffered_bytes: Size | None = None
    """Bytes held in memory per direction when a reader is slow; with HTTP/2 the window of a stream. Less than 2GiB.
    Default: 64KiB."""
    cached_tokens: Positive | None = None
    """Verified tokens in the cache. Default: 100000."""
    cached_bytes: Size | None = None
    """Their memory. Default: 32MiB."""
    identity_header_bytes: Size | None = None
    """Larger identity headers are counted, with a warning. Default: 8KiB."""
    memory_bytes: Size | None = None
    """Resident size of a worker above which new connections are refused; 0: none. Default: the worker's part of 85 % of
    the container's limit."""

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.buffered_bytes is not None and not 0 < self.buffered_bytes <= _WINDOW_MOST:
            raise mistake("`buffered_bytes` has to be more than 0 and less than 2GiB", "buffered_bytes")
        return self


class TimeoutsSection(Section):
    """Deadlines."""

    handshake: Duration | None = None
    """Default: 10s."""
    request_head: Duration | None = None
    """Default: 10s; past it 408."""
    body_rate_bytes: Count | None = None
    """Bytes per second that a request body must have at least. Default: 64."""
    body_rate_window: Duration | None = None
    """Time over which `body_rate_bytes` is averaged. Default: 20s."""
    idle: Duration | None = None
    """Time between two requests of one connection. Default: 75s."""
    drain: Duration | None = None
    """Time for requests in progress after SIGTERM. Default: 30s."""
    write: Duration | None = None
    """How long a client may leave a full buffer unread. Default: 60s."""
    expiry_grace: Duration | None = None
    """How long a stream may continue after its token or certificate expired. Default: 0s."""
    connection_age: Duration | None = None
    """Age at which a client connection takes no further request, and a tunnel ends. Default: 0s, none."""
