"""Settings of the part in front of an authorization server. `settings/` makes them and checks every value."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sidecar.decision.registered_client.method import ClientMethod
from sidecar.decision.registered_client.name import RegisteredName
from sidecar.issuer.configuration import ClientSecretBasic, ClientSecretPost, PrivateKeyJwt
from sidecar.proxy.configuration import CertificateHeaderSettings

Translation = ClientSecretBasic | ClientSecretPost | PrivateKeyJwt
"""The client authentication that the server gets instead of the certificate."""


class EndpointKind(Enum):
    """The endpoints at which clients authenticate. The values are the keys of the settings."""

    TOKEN = "token"  # noqa: S105 — an endpoint
    """Token endpoint (RFC 6749 §3.2)."""
    PUSHED_AUTHORIZATION_REQUEST = "pushed_authorization_request"
    """Pushed authorization request endpoint (RFC 9126 §2)."""
    INTROSPECTION = "introspection"
    """Introspection endpoint (RFC 7662 §2)."""
    REVOCATION = "revocation"
    """Revocation endpoint (RFC 7009 §2)."""


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """The paths of one endpoint."""

    kind: EndpointKind
    public: str
    """Path that clients use."""
    upstream: str
    """Path on the server; usually the same."""


class AuditBinding(Enum):
    """What is done with an issued token that is not bound to the certificate of its connection."""

    REPORT = "report"
    REFUSE = "refuse"
    """502 instead of the token, which is revoked (RFC 7009)."""


@dataclass(frozen=True, slots=True)
class VerifiedField:
    """A field that tells the server whether the certificate was verified."""

    name: str
    yes: str
    """Value if the sidecar authenticated the client by the certificate."""
    no: str | None
    """Value in every other request to an endpoint; None: the field is omitted."""


@dataclass(frozen=True, slots=True)
class HandOverSettings:
    """How the certificate is sent to the server, and the other fields that it requires from a trusted proxy."""

    header: CertificateHeaderSettings | None = None
    chain: bool = False
    """Whether the certificates above the client's certificate are sent too."""
    verified: VerifiedField | None = None
    extra_headers_file: Path | None = None
    """Lines `Name: value`, possibly with secrets: sent with each certificate."""
    extra_names: frozenset[str] = frozenset()
    """Names of those fields."""


@dataclass(frozen=True, slots=True)
class MetadataSettings:
    """The overlay of the server's metadata (RFC 8414 §2, RFC 8705 §5)."""

    mtls_origin: str
    """Scheme, host and port of the `mtls_endpoint_aliases`."""


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """The authorities for a client's certificate (RFC 8705 §2.1)."""

    ca_file: Path
    crl_file: Path | None = None
    partial_chain: bool = False
    """A chain may end in an authority of `ca_file` that is not a root."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """One client in a file of clients."""

    client_id: str
    method: ClientMethod
    place: str
    """`file:line`, for messages."""
    name: RegisteredName | None = None
    """Set with `tls_client_auth`."""
    authority: AuthoritySettings | None = None
    """Set with `tls_client_auth`."""
    thumbprints: frozenset[bytes] = frozenset()
    """Set with `self_signed_tls_client_auth`: SHA-256 of the certificates that are registered in files."""
    jwks_url: str | None = None
    """Set with `self_signed_tls_client_auth`: the URL of the client's certificates (RFC 7517 §4.7, `x5c`)."""
    hands_certificate: bool = False
    """With `other`: the certificate is still sent to the server."""
    translation: Translation | None = None

    def __reduce__(self) -> tuple[type["ClientSettings"], tuple[object, ...]]:
        """A short form: at each reload ten thousand of them may be sent from one process to another."""
        return ClientSettings, (
            self.client_id, self.method, self.place, self.name, self.authority, self.thumbprints, self.jwks_url,
            self.hands_certificate, self.translation,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuthorizationServerSettings:
    """The server, its endpoints and its clients."""

    issuer: str
    endpoints: tuple[EndpointSettings, ...]
    clients: tuple[ClientSettings, ...]
    hand_over: HandOverSettings = HandOverSettings()
    audit_binding: AuditBinding = AuditBinding.REPORT
    metadata: MetadataSettings | None = None
    report_only_until: float | None = None
    """Seconds since the epoch: until then a request that would be refused is forwarded without its certificate, and
    recorded. None: it is refused.
    """
    clients_ca_file: Path | None = None
    """Authorities for the servers of clients' certificates; None: the system's."""

    def enforces(self, now: float) -> bool:
        """Whether a client that is not authenticated is refused at `now` (seconds since the epoch)."""
        return self.report_only_until is None or now >= self.report_only_until

    @property
    def hand_over_names(self) -> frozenset[str]:
        """The fields that send the server a certificate: no client may send them in any request."""
        header, verified = self.hand_over.header, self.hand_over.verified
        names = header.names if header is not None else frozenset()
        return names | {*self.hand_over.extra_names, *([verified.name] if verified is not None else [])}
