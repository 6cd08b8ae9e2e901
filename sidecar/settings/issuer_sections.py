"""The sections of a policy file that concern an issuer: whom to trust, for what, and how to ask."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from sidecar.issuer.client_authentication import parse_secret, parse_signing_key, parse_token
from sidecar.settings.dpop_sections import Informative, Proof, Scheme
from sidecar.settings.files import CertificateFile, KeySetFile, PrivateKeyFile, ReadableFile, check_private
from sidecar.settings.own_certificate import WORLD_READABLE, OwnCertificate
from sidecar.settings.problem import shown
from sidecar.settings.profiles import weakened
from sidecar.settings.scalars import Day, Duration, Form, Size, Text, Texts
from sidecar.settings.section import Section, mistake
from sidecar.settings.service_sections import Count, Positive

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]
"""Asymmetric only (RFC 7518 §3.1, RFC 8037, RFC 9864)."""


def check_url(value: str) -> str:
    """An absolute http(s) URL without user, password or fragment; raises `ValueError`."""
    try:
        url = urlsplit(value)
        is_good = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port or 1) > 0
        is_good = is_good and url.username is None and not url.fragment
    except ValueError:
        is_good = False
    if not is_good or any(char <= " " for char in value):
        raise ValueError(f"{shown(value)} is not an https:// URL")
    return value


Url = Annotated[Text, AfterValidator(check_url)]


class ReportOnlySection(Section):
    """What would be refused for binding or conditions passes and is recorded, until a day."""

    until: Day
    """On that day, 00:00 UTC, enforcing starts by itself."""


class Keys(Section):
    """Where an issuer's keys come from: one of `discovery`, `jwks_url`, `jwks_file`; and when they are fetched."""

    discovery: bool | None = None
    """true: from the issuer's metadata (RFC 8414, OpenID Connect Discovery)."""
    discovery_url: Url | None = None
    """Where the metadata is, when it is not at a well-known place."""
    jwks_url: Url | None = None
    """A JWK set at a fixed URL (RFC 7517 §5)."""
    jwks_file: KeySetFile | None = None
    """A JWK set on disk, read again when it changes."""
    minimum_interval: Duration | None = None
    """However short the issuer's max-age is. Default: 1m."""
    maximum_interval: Duration | None = None
    """However long the issuer's max-age is. Default: 1h."""
    default_interval: Duration | None = None
    """When the issuer gives no max-age. Default: 5m."""
    cool_down: Duration | None = None
    """Between two fetches that requests caused. Default: 5s."""
    unknown_kid_lifetime: Duration | None = None
    """How long a `kid` that fresh keys did not hold is refused without asking again. Default: 30s."""
    staleness_budget: Duration | None = None
    """How long the last good keys serve when the issuer is out of reach; then 503. Default: 24h."""
    maximum_keys: Positive | None = None
    """Keys of one set that are looked at. Default: 100."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        origins = [self.discovery or self.discovery_url, self.jwks_url, self.jwks_file]
        if sum(1 for origin in origins if origin) != 1:
            raise mistake("exactly one of `discovery: true`, `discovery_url`, `jwks_url`, `jwks_file`")
        return self


class Http(OwnCertificate):
    """How an issuer is spoken to."""

    ca_file: CertificateFile | None = None
    """PEM: the authorities to trust, roots or not. Default: the system's."""
    strict_certificates: bool | None = None
    """Refuse certificates without the extensions that RFC 5280 §4.2 demands. Default: false."""
    certificate_file: CertificateFile | None = None
    """The sidecar's own certificate, for issuers that want mutual TLS."""
    proxy: Url | None = None
    """http://host:port or https://host:port of a forward proxy."""
    proxy_credentials_file: ReadableFile | None = None
    """One line `user:password`."""
    connect_timeout: Duration | None = None
    """Default: 3s."""
    timeout: Duration | None = None
    """For one exchange. Default: 10s."""
    document_bytes: Size | None = None
    """Largest answer that is read. Default: 1MiB."""
    insecure_plain_http_anyone_can_forge_keys: bool = False
    """DANGEROUS: lets http:// URLs through. For tests on loopback."""


_NEEDS = {
    "client_secret_basic": {"client_secret_file"},
    "client_secret_post": {"client_secret_file"},
    "private_key_jwt": {"key_file"},
    "tls_client_auth": {"certificate_file", "private_key_file"},
    "self_signed_tls_client_auth": {"certificate_file", "private_key_file"},
    "bearer": {"token_file"},
    "insecure_none": set(),
}
_MAY = {"private_key_jwt": {"algorithm", "key_id", "audience"}}


class ClientAuthenticationSection(OwnCertificate):
    """How the sidecar says who it is when it asks about a token."""

    method: Literal[
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt",
        "tls_client_auth",
        "self_signed_tls_client_auth",
        "bearer",
        "insecure_none",
    ]
    """The client authentication of RFC 8414 §2, or `bearer`, or none at all."""
    client_secret_file: ReadableFile | None = None
    """With client_secret_basic and client_secret_post: one line."""
    token_file: ReadableFile | None = None
    """With bearer: an access token on one line, read again when it changes."""
    key_file: PrivateKeyFile | None = None
    """With private_key_jwt: PEM."""
    algorithm: Algorithm | None = None
    """With private_key_jwt. Default: what fits the key."""
    key_id: Text | None = None
    """With private_key_jwt: the `kid` of the assertion."""
    audience: Text | None = None
    """With private_key_jwt. Default: the issuer identifier."""
    certificate_file: CertificateFile | None = None
    """With tls_client_auth and self_signed_tls_client_auth (RFC 8705 §2)."""
    insecure_private_key_readable_by_everyone: bool = False
    """DANGEROUS: accepts a private key or secret that every user of the machine may read."""

    @model_validator(mode="after")
    def _own_certificate(self) -> Self:
        """What the method needs comes first: who forgot the key of `tls_client_auth` is told of the method."""
        given = self.model_fields_set - {"method", WORLD_READABLE}
        needed = _NEEDS[self.method]
        for name in sorted(needed - given):
            raise mistake(f"`method: {self.method}` needs `{name}`", "method")
        for name in sorted(given - needed - _MAY.get(self.method, set())):
            raise mistake(f"`{name}` has no effect with `method: {self.method}`", name)
        self._check_own_certificate()
        for name in ("key_file", "client_secret_file", "token_file"):
            if name in given and not self.insecure_private_key_readable_by_everyone:
                check_private(getattr(self, name), WORLD_READABLE, name)
        self._check_usable("client_secret_file", parse_secret)
        self._check_usable("token_file", parse_token)
        self._check_usable("key_file", lambda pem: parse_signing_key(pem, self.algorithm))
        return self

    def _check_usable(self, name: str, parse: Callable[[bytes], object]) -> None:
        """What the sidecar could not authenticate with is a mistake here, not at start."""
        path: Path | None = getattr(self, name)
        if path is None or not path.exists():
            return
        try:
            parse(path.read_bytes())
        except (OSError, ValueError) as problem:
            raise mistake(str(problem), name) from None


class Signed(Section):
    """Ask for a signed response and take no other (RFC 9701)."""

    algorithms: Annotated[list[Algorithm], Field(min_length=1)] | None = None
    """What the response may be signed with. Default: those of the issuer."""
    audience: Text | None = None
    """What `aud` must hold. Default: our client_id."""
    maximum_age: Duration | None = None
    """Largest distance of `iat` from now. Default: 1m."""


class CircuitBreakerSection(Section):
    """When an endpoint that keeps failing is left alone."""

    failures: Positive | None = None
    """In a row. Default: 5."""
    open_for: Duration | None = None
    """Default: 5s."""
    probes: Positive | None = None
    """Let through at a time when half open. Default: 1."""


class Introspection(Section):
    """Asking the issuer about a token (RFC 7662)."""

    when: Literal["opaque", "always"]
    """`opaque`: tokens that are no JWT; `always`: JWTs too, after their signature was verified."""
    same_subject: bool | None = None
    """With `always`: `sub` of token and answer must not differ; false for pairwise identifiers. Default: true."""
    client_id: Text
    """Who the sidecar is to the issuer."""
    client_authentication: ClientAuthenticationSection
    endpoint: Url | None = None
    """Default: from the issuer's metadata."""
    deadline: Duration | None = None
    """For one question, waiting included. Default: 5s."""
    concurrency: Positive | None = None
    """Questions under way at a time. Default: 32."""
    waiting: Count | None = None
    """Questions that may wait; past it 503. Default: 1024."""
    active_lifetime: Duration | None = None
    """How long `active: true` is remembered, never past `exp`. Default: 1m."""
    inactive_lifetime: Duration | None = None
    """How long `active: false` is remembered. Default: 10s."""
    cache_bytes: Size | None = None
    """Default: 64MiB."""
    response_bytes: Size | None = None
    """Default: 256KiB."""
    token_bytes: Size | None = None
    """Largest opaque token that is asked about. Default: 4KiB."""
    signed: Signed | None = None
    circuit_breaker: CircuitBreakerSection | None = None


TokenType = Annotated[str, Form(r"^[A-Za-z0-9!#$&^_.+/-]*$", "a media type", 127)]


class ClaimNamesSection(Section):
    """Which claims say what; the first that is present counts, null is absent."""

    scope: Annotated[Texts, Field(min_length=1, max_length=8)] | None = None
    """Text that is split at spaces, or a list. Default: scope."""
    client_id: Annotated[Texts, Field(min_length=1, max_length=8)] | None = None
    """Default: client_id."""


class IssuerSection(Section):
    """One authorization server, and what is accepted from it."""

    issuer: Url
    """Its identifier, compared exactly with `iss`."""
    audience: Annotated[Texts, Field(min_length=1)]
    """Who the protected resource is: one of these must be in `aud`."""
    profile: Literal["fapi2"] | None = None
    """fapi2: all that the FAPI 2.0 Security Profile asks of a resource server; `sidecar check --explain` lists it."""
    audience_claim: Text | None = None
    """The claim that takes the place of `aud` in tokens without one, e.g. client_id."""
    insecure_audience_missing: bool = False
    """DANGEROUS: tokens without `aud` pass; they were issued for whoever takes them."""
    claim_names: ClaimNamesSection = ClaimNamesSection()
    keys: Keys | None = None
    """Where its keys come from; left out only for opaque tokens."""
    http: Http = Http()
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] | None = None
    """Default: ES256, PS256, EdDSA, RS256."""
    token_types: Annotated[list[TokenType], Field(min_length=1)] | None = None
    """`typ` of the JWT. Default: at+jwt (RFC 9068). "" accepts a JWT that does not say."""
    binding: Literal["required", "if_bound", "not_required"] | None = None
    """Default: required. A bound token must confirm in every mode."""
    clock_skew: Duration | None = None
    """Default: 30s, at most 10m."""
    schemes: Annotated[list[Scheme], Field(min_length=1)] | None = None
    """How its tokens may be presented. Default: Bearer. With DPoP, a token may be bound to a key (RFC 9449)."""
    informative_confirmation: Annotated[list[Informative], Field(min_length=1)] | None = None
    """Members of `cnf` that bind nothing, by name: kc-jkt-type. None that IANA registers."""
    dpop: Proof | None = None
    """What is asked of DPoP proofs."""
    introspection: Introspection | None = None
    report_only: ReportOnlySection | None = None

    @model_validator(mode="after")
    def _follows_its_profile(self) -> Self:
        if self.profile is None:
            return self
        found = weakened(self.algorithms, self.binding, self.clock_skew)
        if found is not None:
            name, message = found
            raise mistake(message, name)
        if self.insecure_audience_missing:
            raise mistake("`profile: fapi2` needs tokens with an audience", "insecure_audience_missing")
        return self

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.clock_skew is not None and self.clock_skew > 600:
            raise mistake("more than 10m", "clock_skew")
        if self.audience_claim == "aud":
            raise mistake("`aud` is always read", "audience_claim")
        if self.audience_claim is not None and self.insecure_audience_missing:
            raise mistake("has no effect with `audience_claim`", "insecure_audience_missing")
        if (
            self.introspection
            and self.introspection.same_subject is not None
            and self.introspection.when != "always"
        ):
            raise mistake("`same_subject` has no effect without `when: always`", "introspection")
        if self.dpop is not None and "DPoP" not in (self.schemes or ()):
            raise mistake("has no effect: `schemes` does not have DPoP", "dpop")
        if self.keys is None and self.introspection is None:
            raise mistake("needs `keys`, or `introspection` for opaque tokens")
        if self.keys is None and self.introspection is not None and self.introspection.signed is not None:
            raise mistake("`signed` responses are verified with the issuer's `keys`", "introspection")
        endpoints = {
            "keys": self.keys and (self.keys.jwks_url or self.keys.discovery_url),
            "issuer": self.issuer if self.keys and self.keys.discovery else None,
            "introspection": self.introspection and self.introspection.endpoint,
        }
        for name, url in endpoints.items():
            if url and url.startswith("http:") and not self.http.insecure_plain_http_anyone_can_forge_keys:
                raise mistake(f"{shown(url)} is not https", name)
        return self
