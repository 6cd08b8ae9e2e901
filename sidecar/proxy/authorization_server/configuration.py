"""Settings of the part in front of an authorization server. `settings/` fills these; every value is checked."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sidecar.decision.registered_client.method import ClientMethod
from sidecar.decision.registered_client.name import RegisteredName
from sidecar.issuer.configuration import ClientSecretBasic, ClientSecretPost, PrivateKeyJwt
from sidecar.proxy.configuration import CertificateHeaderSettings

Translation = ClientSecretBasic | ClientSecretPost | PrivateKeyJwt
"""How the server is told who the client is, in place of the certificate."""


class EndpointKind(Enum):
    """The endpoints at which clients authenticate. The values are the keys of the settings."""

    TOKEN = "token"  # noqa: S105 — an endpoint
    """RFC 6749 §3.2."""
    PUSHED_AUTHORIZATION_REQUEST = "pushed_authorization_request"
    """RFC 9126 §2."""
    INTROSPECTION = "introspection"
    """RFC 7662 §2."""
    REVOCATION = "revocation"
    """RFC 7009 §2."""


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """Where one endpoint is."""

    kind: EndpointKind
    public: str
    """Path at which clients find it."""
    upstream: str
    """Path at which the server has it; mostly the same."""


class AuditBinding(Enum):
    """What becomes of a token that is not bound to the certificate of the connection that it is issued on."""

    REPORT = "report"
    REFUSE = "refuse"
    """502 instead of the token, which is revoked (RFC 7009)."""


@dataclass(frozen=True, slots=True)
class VerifiedField:
    """A field that tells the server whether the certificate was verified."""

    name: str
    yes: str
    """Value where we authenticated the client by it."""
    no: str | None
    """Value in every other request to an endpoint; None: the field is left out."""


@dataclass(frozen=True, slots=True)
class HandOverSettings:
    """How the server is told the certificate, and what else it wants to hear from a proxy that it trusts."""

    header: CertificateHeaderSettings | None = None
    chain: bool = False
    """Whether the certificates above the client's are told too."""
    verified: VerifiedField | None = None
    extra_headers_file: Path | None = None
    """Lines `Name: value`, secrets among them: sent with each certificate."""
    extra_names: frozenset[str] = frozenset()
    """Names of those fields."""


@dataclass(frozen=True, slots=True)
class MetadataSettings:
    """The overlay of the server's metadata (RFC 8414 §2, RFC 8705 §5)."""

    mtls_origin: str
    """Scheme, host and port of the `mtls_endpoint_aliases`."""


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """Who vouches for a client's certificate (RFC 8705 §2.1)."""

    ca_file: Path
    crl_file: Path | None = None
    partial_chain: bool = False
    """A chain may end in an authority of `ca_file` that is no root."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """One client of a file of clients."""

    client_id: str
    method: ClientMethod
    place: str
    """`file:line`, for messages."""
    name: RegisteredName | None = None
    """With `tls_client_auth`."""
    authority: AuthoritySettings | None = None
    """With `tls_client_auth`."""
    thumbprints: frozenset[bytes] = frozenset()
    """With `self_signed_tls_client_auth`: SHA-256 of the certificates that are registered in files."""
    jwks_url: str | None = None
    """With `self_signed_tls_client_auth`: where the client publishes them (RFC 7517 §4.7, `x5c`)."""
    hands_certificate: bool = False
    """With `other`: the server is told the certificate nevertheless."""
    translation: Translation | None = None

    def __reduce__(self) -> tuple[type["ClientSettings"], tuple[object, ...]]:
        """As short as can be: ten thousand of them go from one process to another at each reload."""
        return ClientSettings, (
            self.client_id, self.method, self.place, self.name, self.authority, self.thumbprints, self.jwks_url,
            self.hands_certificate, self.translation,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuthorizationServerSettings:
    """In front of which server, and for whom."""

    issuer: str
    endpoints: tuple[EndpointSettings, ...]
    clients: tuple[ClientSettings, ...]
    hand_over: HandOverSettings = HandOverSettings()
    audit_binding: AuditBinding = AuditBinding.REPORT
    metadata: MetadataSettings | None = None
    report_only_until: float | None = None
    """Seconds since the epoch: until then a request that would be refused goes to the server, without a word about its
    certificate, and is recorded. None: refused.
    """
    clients_ca_file: Path | None = None
    """Authorities to trust where clients publish their certificates; None: the system's."""

    def enforces(self, now: float) -> bool:
        """Whether a client that is not authenticated is refused at `now` (seconds since the epoch)."""
        return self.report_only_until is None or now >= self.report_only_until

    @property
    def hand_over_names(self) -> frozenset[str]:
        """The fields that tell the server a certificate: no client may send them, whatever the request."""
        header, verified = self.hand_over.header, self.hand_over.verified
        names = header.names if header is not None else frozenset()
        return names | {*self.hand_over.extra_names, *([verified.name] if verified is not None else [])}
