"""The endpoints of an authorization server as a worker serves them, with what goes on behind them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from sidecar.authorizer import Authorizer
from sidecar.decision.ports import TokenIntrospector
from sidecar.decision.registered_client.registry import ClientRegistry
from sidecar.entry.authorization_server import (
    AuthorizationServer,
    IssuerAnswers,
    ServerParts,
    extra_headers,
    translations,
)
from sidecar.proxy.authorization_server.client_keys import PublishedByClients, published_by_clients
from sidecar.proxy.authorization_server.clients import registry
from sidecar.settings.configuration import Loaded
from sidecar.telemetry.issuer_observer import IssuerObserver


@dataclass(frozen=True, slots=True)
class EndpointPorts:
    """Whom they ask and tell; the same for the life of the process."""

    introspector: TokenIntrospector
    digest_key: bytes
    incident: Callable[[str, str], None]
    """Gets the incidents: events to count that are not requests."""
    observer: IssuerObserver
    """Gets the results of fetching what clients publish."""


@dataclass(frozen=True, slots=True, eq=False)
class ServedEndpoints:
    """Under one configuration."""

    server: AuthorizationServer
    published: PublishedByClients
    clients: ClientRegistry

    async def start(self, predecessor: Self | None = None) -> None:
        """Begin to fetch what clients publish; what `predecessor` knew counts on. Does not wait for any client."""
        await self.published.start(predecessor.published if predecessor is not None else None)

    async def close(self) -> None:
        """Stop fetching."""
        await self.published.close()


def served_endpoints(loaded: Loaded, authorizer: Authorizer, ports: EndpointPorts) -> ServedEndpoints | None:
    """Those of a configuration; None where there are none. Reads files: not on the event loop. Raises `OSError`,
    `ValueError`.
    """
    settings = loaded.authorization_server
    if settings is None:
        return None
    asked = {one.issuer for one in loaded.issuers.issuers if one.introspection is not None}
    introspection = None
    if settings.issuer in asked:
        introspection = IssuerAnswers(ports.introspector, settings.issuer, ports.digest_key)
    published = published_by_clients(settings, ports.observer)
    clients = registry(settings.clients, published.keys)
    parts = ServerParts(
        clients,
        authorizer,
        introspection,
        translations(settings),
        extra_headers(settings),
    )
    return ServedEndpoints(AuthorizationServer(settings, parts, ports.incident), published, clients)
