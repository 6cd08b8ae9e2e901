"""Who sends a request to an authorization server's endpoint (RFC 8705 §2): evidence, or a refusal.

A client that is not registered takes the same path as one with the wrong certificate: it is looked up, compared with
a registration that no certificate matches, and fails at the same check. Only the record says which it was.
"""

from collections.abc import Iterable
from typing import Final

from sidecar.decision.certificate import Certificate
from sidecar.decision.failure import Denied
from sidecar.decision.reason import Reason
from sidecar.decision.registered_client.fitness import check_fitness
from sidecar.decision.registered_client.method import (
    ByCertificate,
    ByName,
    NoAuthority,
    Otherwise,
    RegisteredClient,
)
from sidecar.decision.registered_client.name import RegisteredName, nobody
from sidecar.decision.registered_client.token_request import ClaimedMethod, TokenRequest
from sidecar.decision.request import Presenter

_CHECK: Final = "client_authentication"


class AuthenticatedClient:
    """A client that proved to be who it says (RFC 8705 §2). Made by `ClientRegistry` alone. Treat as immutable."""

    __slots__ = ("certificate", "client", "matched", "valid_until")

    def __init__(
        self, client: RegisteredClient, certificate: Certificate, matched: str, valid_until: float
    ) -> None:
        self.client = client
        self.certificate = certificate
        """Its key was proven in this connection's handshake."""
        self.matched = matched
        """What of the certificate is registered: `san_dns=tpp-1.example`, or `x5t#S256=…`."""
        self.valid_until = valid_until
        """Seconds since the epoch: when the first certificate of its chain ends."""

    @property
    def client_id(self) -> str:
        """As it is registered."""
        return self.client.client_id


class UnauthenticatedClient:
    """A registered client that the authorization server has to authenticate: nothing of this is verified."""

    __slots__ = ("certificate", "client")

    def __init__(self, client: RegisteredClient, certificate: Certificate | None) -> None:
        self.client = client
        self.certificate = certificate
        """To be handed over; None where it is not, or where there is none."""

    @property
    def client_id(self) -> str:
        """As it is registered, and as the request claims."""
        return self.client.client_id


class ClientRegistry:
    """The clients of one configuration. Looking one up costs the same, however many there are."""

    def __init__(self, clients: Iterable[RegisteredClient]) -> None:
        self._clients = {one.client_id: one for one in clients}
        self._matched: dict[str, tuple[bytes, str]] = {}
        """By client: the last certificate, by its SHA-256, that was found to have its name, and what was found."""

    def __len__(self) -> int:
        return len(self._clients)

    def client(self, client_id: str) -> RegisteredClient | None:
        """The client that is registered under this identifier."""
        return self._clients.get(client_id)

    def authenticate(
        self, request: TokenRequest, presenter: Presenter, now: float
    ) -> AuthenticatedClient | UnauthenticatedClient:
        """Who sends `request` on the connection of `presenter`. `now`: seconds since the epoch.

        Raises `Denied`: client_unknown, client_method_mismatch, client_certificate_missing, client_certificate_unfit,
        client_certificate_expired, client_certificate_mismatch, client_certificate_untrusted.
        """
        client = self._clients.get(request.client_id)
        if client is not None and isinstance(client.proof, Otherwise):
            handed = presenter.client_certificate if client.proof.hands_certificate else None
            return UnauthenticatedClient(client, handed)
        try:
            return _authenticated(client or _NOBODY, request, presenter, now, self._matched)
        except Denied as denied:
            if client is not None:
                raise
            shown = denied.failure.presented
            raise Denied(Reason.CLIENT_UNKNOWN, "client_id", "a registered client", shown) from None


_NOBODY: Final = RegisteredClient("", ByName(nobody(), NoAuthority()))


def _authenticated(
    client: RegisteredClient,
    request: TokenRequest,
    presenter: Presenter,
    now: float,
    known: dict[str, tuple[bytes, str]],
) -> AuthenticatedClient:
    certificate = presenter.client_certificate
    if request.method is not ClaimedMethod.NONE:
        raise Denied(Reason.CLIENT_METHOD_MISMATCH, _CHECK, client.method.value, request.method.value)
    if certificate is None:
        raise Denied(Reason.CLIENT_CERTIFICATE_MISSING, _CHECK, "a client certificate", "none")
    check_fitness(certificate, now)
    # Each of them is read once for a connection; which one is asked for must not show in the time.
    _ = certificate.canonical_subject, certificate.alternative_names
    proof = client.proof
    if isinstance(proof, ByName):
        matched = _match(client.client_id, proof.name, certificate, known)
        until = proof.authority.verify(certificate, presenter.chain, now)
        return AuthenticatedClient(client, certificate, matched, min(until, certificate.not_after))
    assert isinstance(proof, ByCertificate)  # noqa: S101 — `authenticate` has taken the third kind out
    if not proof.certificates.holds(certificate.thumbprint):
        proof.certificates.missed(certificate.thumbprint)
        shown = f"x5t#S256={certificate.thumbprint_text}"
        raise Denied(Reason.CLIENT_CERTIFICATE_MISMATCH, _CHECK, "a registered certificate", shown)
    matched = f"x5t#S256={certificate.thumbprint_text}"
    return AuthenticatedClient(client, certificate, matched, certificate.not_after)


def _match(
    client_id: str, name: RegisteredName, certificate: Certificate, known: dict[str, tuple[bytes, str]]
) -> str:
    """What of the certificate is the name; raises `Denied`. Which names a certificate has is the same each time."""
    before = known.get(client_id)
    if before is not None and before[0] == certificate.thumbprint:
        return before[1]
    matched = name.match(certificate)
    known[client_id] = (certificate.thumbprint, matched)
    return matched
