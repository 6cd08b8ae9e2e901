"""The clients of a configuration → the registry that decides. Clients with the same authority share one object."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from sidecar.decision.registered_client.method import (
    ByCertificate,
    ByName,
    ClientAuthority,
    ClientMethod,
    Otherwise,
    RegisteredCertificates,
    RegisteredClient,
)
from sidecar.decision.registered_client.registry import ClientRegistry
from sidecar.proxy.authorization_server.authority import TrustedAuthority
from sidecar.proxy.authorization_server.configuration import AuthoritySettings, ClientSettings


class FixedCertificates:
    """Certificates that are registered in files. Implements `RegisteredCertificates`."""

    __slots__ = ("_thumbprints",)

    def __init__(self, thumbprints: frozenset[bytes]) -> None:
        self._thumbprints = thumbprints

    def holds(self, thumbprint: bytes) -> bool:
        """See `RegisteredCertificates`."""
        return thumbprint in self._thumbprints

    def missed(self, thumbprint: bytes) -> None:
        """Nothing to do: these certificates change with the configuration only."""


def registry(
    clients: Sequence[ClientSettings],
    published: Mapping[str, RegisteredCertificates],
    authority: Callable[[AuthoritySettings], ClientAuthority] = TrustedAuthority,
) -> ClientRegistry:
    """Reads the files of authorities: call it off the event loop. `published` holds the certificates for each
    `jwks_url`.

    Raises `OSError`, `ValueError`.
    """
    shared = cache(authority)
    return ClientRegistry([_registered(one, shared, published) for one in clients])


def _registered(
    settings: ClientSettings,
    authority: Callable[[AuthoritySettings], ClientAuthority],
    published: Mapping[str, RegisteredCertificates],
) -> RegisteredClient:
    if settings.method is ClientMethod.OTHER:
        return RegisteredClient(settings.client_id, Otherwise(settings.hands_certificate))
    if settings.method is ClientMethod.SELF_SIGNED_TLS_CLIENT_AUTH:
        certificates = (
            FixedCertificates(settings.thumbprints)
            if settings.jwks_url is None
            else published[settings.jwks_url]
        )
        return RegisteredClient(settings.client_id, ByCertificate(certificates))
    if settings.name is None or settings.authority is None:
        raise ValueError(f"{settings.place}: tls_client_auth needs a name and an authority")
    return RegisteredClient(settings.client_id, ByName(settings.name, authority(settings.authority)))
