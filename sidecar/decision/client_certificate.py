"""The client certificate as facts."""

from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from sidecar.decision.strict import base64url_text


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
    def thumbprint_text(self) -> str:
        """The thumbprint as `x5t#S256` writes it: base64url without padding."""
        return base64url_text(self.thumbprint)

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
