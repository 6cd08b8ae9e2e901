"""What the issuer side must be told. `settings/` fills these; every value here is already checked.

Times are seconds, sizes are bytes.
"""

from dataclasses import dataclass, field
from pathlib import Path

from sidecar.decision.claim_names import CLAIM_NAMES, ClaimNames
from sidecar.decision.confirmable import CONFIRMABLE, Confirmable

# --- how an issuer is reached -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How one issuer is spoken to. Environment variables are never read, redirects never followed."""

    ca_file: Path | None = None
    """PEM bundle of the authorities to trust; None: the system's."""
    certificate_file: Path | None = None
    """PEM client certificate for issuers whose documents need mutual TLS; with `private_key_file`."""
    private_key_file: Path | None = None
    strict_certificates: bool = False
    """Refuse certificates of the issuer that leave out what RFC 5280 §4.2 demands."""
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
    """Lets `http://` URLs through. For tests on loopback: whoever is on the path chooses the keys."""


# --- where keys come from -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JwksFile:
    """A JWK set on disk, read again when it changes."""

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
    """Where the document is; None: the well-known places for this issuer, RFC 8414's first."""


KeyOrigin = JwksFile | JwksUrl | Discovery


@dataclass(frozen=True, slots=True)
class RefreshSettings:
    """When keys are fetched again, and how long they last when they cannot be."""

    minimum_interval: float = 60.0
    """However short the issuer's `max-age` is."""
    maximum_interval: float = 3600.0
    """However long the issuer's `max-age` is."""
    default_interval: float = 300.0
    """When the issuer gives no `max-age` (RFC 9111 §5.2.2.1)."""
    jitter: float = 0.2
    """A refresh comes up to this share of the interval early, so that replicas do not fetch at the same moment."""
    cool_down: float = 5.0
    """Between two fetches that requests caused, whatever the cause and the outcome."""
    unknown_kid_lifetime: float = 30.0
    """How long a `kid` that a fresh key set did not hold is refused without asking again."""
    unknown_kids: int = 1024
    """How many such `kid` values are remembered."""
    waiting_requests: int = 256
    """Requests that may wait for the end of a cool-down; past it an unknown key is refused at once."""
    staleness_budget: float = 86400.0
    """How long the last good keys serve when the issuer is out of reach; then 503."""
    retry_maximum: float = 30.0
    """Longest pause between background attempts while the issuer is out of reach."""
    maximum_keys: int = 100
    """Keys of one set that are looked at."""


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
    """None: what fits the key (RSA: PS256)."""
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
    """DANGEROUS: the endpoint answers whoever asks, against RFC 7662 §2.1."""

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
    """Ask for a signed response and take no other (RFC 9701)."""

    algorithms: frozenset[str] = frozenset({"ES256", "PS256", "EdDSA", "RS256"})
    audience: str | None = None
    """What `aud` must hold; None: our `client_id`."""
    maximum_age: float = 60.0
    """Largest distance of `iat` from now."""


@dataclass(frozen=True, slots=True)
class CircuitBreakerSettings:
    """When an endpoint that keeps failing is left alone."""

    failures: int = 5
    """In a row, until the circuit opens."""
    open_for: float = 5.0
    probes: int = 1
    """Requests let through at a time when it is half open."""


@dataclass(frozen=True, slots=True)
class IntrospectionSettings:
    """How one issuer is asked about a token (RFC 7662)."""

    client_authentication: ClientAuthentication
    endpoint: str | None = None
    """None: from the issuer's metadata; for certificate methods its `mtls_endpoint_aliases` (RFC 8705 §5)."""
    confirmable: Confirmable = CONFIRMABLE
    """What `cnf` of an answer may hold."""
    deadline: float = 5.0
    """For one question, waiting included."""
    concurrency: int = 32
    """Questions under way at a time."""
    waiting: int = 1024
    """Questions that may wait; past it 503 at once."""
    active_lifetime: float = 60.0
    """How long `active: true` may be remembered; never past `exp`."""
    inactive_lifetime: float = 10.0
    """How long `active: false` may be remembered."""
    cache_bytes: int = 64 << 20
    response_bytes: int = 256 << 10
    token_type_hint: str | None = "access_token"  # noqa: S105 — an RFC 7662 §2.1 hint, not a password
    signed: SignedResponse | None = None
    breaker: CircuitBreakerSettings = CircuitBreakerSettings()
    claim_names: ClaimNames = CLAIM_NAMES


# --- one issuer, and all of them ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """Everything about one issuer. Two issuers share nothing."""

    issuer: str
    """Issuer identifier, compared exactly (RFC 8414 §3.3)."""
    keys: KeyOrigin | None
    """None: this issuer is only ever asked by introspection."""
    refresh: RefreshSettings = RefreshSettings()
    http: HttpSettings = HttpSettings()
    introspection: IntrospectionSettings | None = None


@dataclass(frozen=True, slots=True)
class IssuersSettings:
    """All issuers of the policy. Nothing is ever sent to an issuer that is not here."""

    issuers: tuple[IssuerSettings, ...] = field(default=())
    state_directory: Path | None = None
    """Where last good keys survive a restart; None: they do not. Must be writable by this process alone."""
