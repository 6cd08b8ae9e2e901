"""A permit for a request to an authorization server's endpoint: the evidence is a client, and no token."""

from sidecar.decision.denial import Denial
from sidecar.decision.permit import Permit
from sidecar.decision.policy import Rule
from sidecar.decision.registered_client.registry import AuthenticatedClient, UnauthenticatedClient

_FOREVER = float("inf")

Client = AuthenticatedClient | UnauthenticatedClient


class ClientPermit(Permit):
    """Describes a request that may go to the server. Made by `admitted` and `tolerated` alone."""

    __slots__ = ("client",)

    def __init__(self, rule: Rule, client: Client | None, would_deny: Denial | None) -> None:
        super().__init__(rule, None, (), _FOREVER, would_deny)
        self.client = client
        """Who sends it; None: it passes only because the configuration reports instead of enforcing."""


def admitted(rule: Rule, client: Client) -> ClientPermit:
    """For a client that `ClientRegistry` let through."""
    return ClientPermit(rule, client, None)


def tolerated(rule: Rule, denial: Denial) -> ClientPermit:
    """For a request that would be refused: the server is told nothing of its client."""
    return ClientPermit(rule, None, denial)
