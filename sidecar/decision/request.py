"""The facts of one request, as the transport saw them: what the decision may look at, and nothing else."""

from dataclasses import dataclass, field
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256


@dataclass(slots=True)
class RequestHead:
    """The part of an HTTP request that a decision may look at. Treat as immutable.

    Not frozen only because a frozen dataclass costs a function call per field, on every request.
    """

    method: str
    """Case-sensitive, as received (RFC 9110 §9.1)."""
    target: str
    """The request target exactly as received and as forwarded (RFC 9112 §3.2)."""
    path: str
    """The absolute-path of the target, not decoded; `*` for asterisk-form."""
    query: str
    """What follows the first `?`, without it; empty when there is none."""
    host: str
    """For matching only: lower case, without port and trailing dot."""
    authorization: tuple[str, ...] = ()
    """Every `Authorization` field value, in order (RFC 9110 §11.6.2)."""
    preflight: bool = False
    """OPTIONS with `Origin` and `Access-Control-Request-Method`: a CORS preflight (Fetch standard §4.8)."""


class ClientCertificate:
    """The end-entity certificate whose private key the client proved to hold in this connection's handshake.

    Made once per connection; the thumbprint is computed at once, the names only when a rule asks.
    """

    def __init__(self, der: bytes) -> None:
        """`der` is the certificate as received, DER encoded."""
        self.der = der
        self.certificate = x509.load_der_x509_certificate(der)
        self.thumbprint: bytes = self.certificate.fingerprint(SHA256())
        """SHA-256 of the DER encoding, 32 bytes (RFC 8705 §3.1)."""
        self.not_after = int(self.certificate.not_valid_after_utc.timestamp())
        """Seconds since the epoch."""
        self.not_before = int(self.certificate.not_valid_before_utc.timestamp())

    @cached_property
    def subject(self) -> str:
        """The subject's distinguished name (RFC 4514)."""
        return self.certificate.subject.rfc4514_string()

    @cached_property
    def issuer(self) -> str:
        """The issuer's distinguished name (RFC 4514)."""
        return self.certificate.issuer.rfc4514_string()

    @cached_property
    def _san(self) -> x509.SubjectAlternativeName:
        try:
            extension = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (x509.ExtensionNotFound, ValueError):
            return x509.SubjectAlternativeName([])
        return extension.value

    @cached_property
    def san_dns(self) -> tuple[str, ...]:
        """DNSName entries (RFC 5280 §4.2.1.6)."""
        return tuple(self._san.get_values_for_type(x509.DNSName))

    @cached_property
    def san_uri(self) -> tuple[str, ...]:
        """UniformResourceIdentifier entries."""
        return tuple(self._san.get_values_for_type(x509.UniformResourceIdentifier))

    @cached_property
    def san_email(self) -> tuple[str, ...]:
        """rfc822Name entries."""
        return tuple(self._san.get_values_for_type(x509.RFC822Name))

    def __repr__(self) -> str:
        return f"ClientCertificate({self.thumbprint.hex()[:16]}…)"


@dataclass(frozen=True, slots=True)
class Presenter:
    """Who presents the token, as the TLS layer of this very connection saw it (RFC 7800 §2).

    One per connection.
    """

    client_certificate: ClientCertificate | None
    """None when the client presented none."""
    listener: str
    """The listener's name or address."""
    peer: str
    """`host:port` of the other end, for the audit record."""
    certificate_must_be_valid: bool = field(default=False)
    """The listener's `trust` is `ca`: not_after counts on every request, not only in the handshake."""
    renderings: dict[object, bytes] = field(default_factory=dict, repr=False, compare=False)
    """What telemetry made of this connection's constants; it dies with the connection."""
