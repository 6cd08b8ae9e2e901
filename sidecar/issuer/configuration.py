"""Settings of the issuer side. `settings/` makes them and checks every value.

Times are seconds, sizes are bytes.
"""

from dataclasses import dataclass, field
from pathlib import Path

from sidecar.decision.claim_names import CLAIM_NAMES, ClaimNames
from sidecar.decision.confirmable import CONFIRMABLE, Confirmable

# --- how an issuer is reached -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How connections to one issuer are made. Environment variables are not read, redirects are not followed."""

    ca_file: Path | None = None
    """PEM bundle of the authorities to trust; None: the system's."""
    certificate_file: Path | None = None
    """PEM client certificate for issuers whose documents require mutual TLS; with `private_key_file`."""
    private_key_file: Path | None = None
    strict_certificates: bool = False
    """Refuse issuer certificates without what RFC 5280 §4.2 demands."""
    proxy: str | None = None
    """`http://host:port` or `https://host:port` of a forward proxy."""
    proxy_credentials_file: Path | None = None
    """One line `user:password` for the proxy (RFC 7617)."""
    connect_timeout: float = 3.0
    """For name resolution, TCP and TLS together."""
    timeout: float = 10.0
    """For one whole exchange."""
    document_bytes: int = 1 << 20
    """Largest answer that is read."""
    insecure_plain_http_anyone_can_forge_keys: bool = False
    """Allows `http://` URLs. For tests on loopback: anybody on the network path chooses the keys."""


# --- where keys come from -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JwksFile:
    """A JWK set in a file, read again when it changes."""

    path: Path
    poll_interval: float = 1.0


@dataclass(frozen=True, slots=True)
class JwksUrl:
    """A JWK set at a fixed URL (RFC 7517 §5)."""

    url: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """The `jwks_uri` of the issuer's metadata (RFC 8414 §2, OpenID Connect Discovery 1.0 §3)."""

    url: str | None = None
    """URL of the document; None: the well-known URLs of this issuer, RFC 8414's first."""


KeyOrigin = JwksFile | JwksUrl | Discovery


@dataclass(frozen=True, slots=True)
class RefreshSettings:
    """When keys are fetched again, and how long they are used if that fails."""

    minimum_interval: float = 60.0
    """Lower limit, even if the issuer's `max-age` is shorter."""
    maximum_interval: float = 3600.0
    """Upper limit, even if the issuer's `max-age` is longer."""
    default_interval: float = 300.0
    """Used if the issuer gives no `max-age` (RFC 9111 §5.2.2.1)."""
    jitter: float = 0.2
    """A refresh is up to this fraction of the interval early, so that replicas do not fetch at the same moment."""
    cool_down: float = 5.0
    """Minimum time between two fetches that requests caused, whatever the cause and the result."""
    unknown_kid_lifetime: float = 30.0
    """How long a `kid` that a fresh key set did not contain is refused without a fetch."""
    unknown_kids: int = 1024
    """Maximum number of such `kid` values that are remembered."""
    waiting_requests: int = 256
    """Maximum number of requests that wait for the end of a cool-down; above it, an unknown key is refused at once."""
    staleness_budget: float = 86400.0
    """How long the last good keys are used while the issuer cannot be reached; then 503."""
    retry_maximum: float = 30.0
    """Longest pause between background attempts while the issuer cannot be reached."""
    maximum_keys: int = 100
    """Maximum number of keys of one set that are read."""


# --- introspection ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientSecretBasic:
    """RFC 6749 §2.3.1: identifier and secret in the `Authorization` header."""

    client_id: str
    client_secret_file: Path


@dataclass(frozen=True, slots=True)
class ClientSecretPost:
    """RFC 6749 §2.3.1: identifier and secret in the request body."""

    client_id: str
    client_secret_file: Path


@dataclass(frozen=True, slots=True)
class PrivateKeyJwt:
    """OpenID Connect Core 1.0 §9, RFC 7523 §2.2: an assertion signed with our private key."""

    client_id: str
    key_file: Path
    """PEM, RSA ≥ 2048, P-256, P-384, P-521 or Ed25519."""
    algorithm: str | None = None
    """None: the default of the key (RSA: PS256)."""
    key_id: str | None = None
    audience: str | None = None
    """None: the issuer identifier."""


@dataclass(frozen=True, slots=True)
class TlsClientAuth:
    """RFC 8705 §2.1: a certificate that the issuer knows by its subject and authority."""

    client_id: str
    certificate_file: Path
    private_key_file: Path


@dataclass(frozen=True, slots=True)
class SelfSignedTlsClientAuth:
    """RFC 8705 §2.2: a certificate that the issuer knows by its key."""

    client_id: str
    certificate_file: Path
    private_key_file: Path


@dataclass(frozen=True, slots=True)
class BearerToken:
    """RFC 7662 §2.1: "a separate OAuth 2.0 access token", in the `Authorization` header."""

    client_id: str
    token_file: Path


@dataclass(frozen=True, slots=True)
class Anonymous:
    """DANGEROUS: the endpoint answers anybody, against RFC 7662 §2.1."""

    client_id: str


ClientAuthentication = (
    ClientSecretBasic
    | ClientSecretPost
    | PrivateKeyJwt
    | TlsClientAuth
    | SelfSignedTlsClientAuth
    | BearerToken
    | Anonymous
)


@dataclass(frozen=True, slots=True)
class SignedResponse:
    """Require a signed response (RFC 9701)."""

    algorithms: frozenset[str] = frozenset({"ES256", "PS256", "EdDSA", "RS256"})
    audience: str | None = None
    """Required value in `aud`; None: our `client_id`."""
    maximum_age: float = 60.0
    """Largest difference of `iat` from now."""


@dataclass(frozen=True, slots=True)
class CircuitBreakerSettings:
    """When an endpoint that keeps failing is not asked."""

    failures: int = 5
    """Number of consecutive failures that opens the circuit."""
    open_for: float = 5.0
    probes: int = 1
    """Number of concurrent probes in the half-open state."""


@dataclass(frozen=True, slots=True)
class IntrospectionSettings:
    """How one issuer is asked about a token (RFC 7662)."""

    client_authentication: ClientAuthentication
    endpoint: str | None = None
    """None: from the issuer's metadata; for certificate methods its `mtls_endpoint_aliases` (RFC 8705 §5)."""
    confirmable: Confirmable = CONFIRMABLE
    """Confirmation methods allowed in `cnf` of an answer."""
    deadline: float = 5.0
    """For one question, including the time that it waits."""
    concurrency: int = 32
    """Maximum number of concurrent questions."""
    waiting: int = 1024
    """Maximum number of waiting questions; above it, 503 at once."""
    active_lifetime: float = 60.0
    """How long `active: true` may be cached; never past `exp`."""
    inactive_lifetime: float = 10.0
    """How long `active: false` may be cached."""
    cache_bytes: int = 64 << 20
    response_bytes: int = 256 << 10
    token_type_hint: str | None = "access_token"  # noqa: S105 — an RFC 7662 §2.1 hint, not a password
    signed: SignedResponse | None = None
    breaker: CircuitBreakerSettings = CircuitBreakerSettings()
    claim_names: ClaimNames = CLAIM_NAMES


# --- one issuer, and all of them ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """All settings of one issuer. Two issuers share nothing."""

    issuer: str
    """Issuer identifier, compared exactly (RFC 8414 §3.3)."""
    keys: KeyOrigin | None
    """None: this issuer's tokens are checked by introspection only."""
    refresh: RefreshSettings = RefreshSettings()
    http: HttpSettings = HttpSettings()
    introspection: IntrospectionSettings | None = None


@dataclass(frozen=True, slots=True)
class IssuersSettings:
    """All issuers of the policy. Nothing is ever sent to an issuer that is not listed."""

    issuers: tuple[IssuerSettings, ...] = field(default=())
    state_directory: Path | None = None
    """Directory in which last good keys survive a restart; None: they do not. Only this process may be able to write
    it.
    """
