"""How a registered client proves who it is: by a certificate that an authority vouches for (RFC 8705 §2.1), by one
that is registered itself (§2.2), or in a way that the authorization server checks itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from sidecar.decision.certificate import Certificate
from sidecar.decision.failure import Denied
from sidecar.decision.reason import Reason
from sidecar.decision.registered_client.name import RegisteredName


class ClientMethod(Enum):
    """`token_endpoint_auth_method` (RFC 8705 §2.1.1 and §2.2.1), and all others."""

    TLS_CLIENT_AUTH = "tls_client_auth"
    SELF_SIGNED_TLS_CLIENT_AUTH = "self_signed_tls_client_auth"
    OTHER = "other"
    """By a secret or an assertion of its own, or not at all: the server looks after it."""


class ClientAuthority(Protocol):
    """Who vouches for certificates of clients. `proxy.authorization_server.authority` asks OpenSSL."""

    def verify(self, certificate: Certificate, chain: Sequence[bytes], now: float) -> float:
        """Until when (seconds since the epoch) the authority vouches for `certificate`.

        `chain`: the certificates that came with it, DER. Raises `Denied` (client_certificate_untrusted).
        """


class NoAuthority:
    """Vouches for nobody. Implements `ClientAuthority`."""

    __slots__ = ()

    def verify(self, certificate: Certificate, chain: Sequence[bytes], now: float) -> float:
        """Raises `Denied`."""
        raise Denied(
            Reason.CLIENT_CERTIFICATE_UNTRUSTED, "client_authentication.chain", "an authority", "none"
        )


class RegisteredCertificates(Protocol):
    """The certificates that are registered of one client."""

    def holds(self, thumbprint: bytes) -> bool:
        """Whether the certificate with this SHA-256 thumbprint is among them."""

    def missed(self, thumbprint: bytes) -> None:
        """The certificate with this thumbprint was not among them: it may have been published since. Never waits."""


@dataclass(frozen=True, slots=True)
class ByName:
    """RFC 8705 §2.1."""

    name: RegisteredName
    authority: ClientAuthority


@dataclass(frozen=True, slots=True)
class ByCertificate:
    """RFC 8705 §2.2."""

    certificates: RegisteredCertificates


@dataclass(frozen=True, slots=True)
class Otherwise:
    """Whatever the server asks of it."""

    hands_certificate: bool = False
    """Whether the server is told its certificate all the same: for a token that is bound to it (RFC 8705 §3)."""


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """One client."""

    client_id: str
    proof: ByName | ByCertificate | Otherwise

    @property
    def method(self) -> ClientMethod:
        """As it is registered."""
        return ClientMethod(self.method_name)

    @property
    def method_name(self) -> str:
        """The value of `method`, which records and metrics name."""
        return _NAMES[type(self.proof)]


_NAMES: Final = {
    ByName: ClientMethod.TLS_CLIENT_AUTH.value,
    ByCertificate: ClientMethod.SELF_SIGNED_TLS_CLIENT_AUTH.value,
    Otherwise: ClientMethod.OTHER.value,
}
