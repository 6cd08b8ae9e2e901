"""Settings of one issuer → its parts, connected. Opens no connection; reads the files that the settings name."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from sidecar.issuer.client_authentication import client_authenticator
from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import (
    ClientAuthentication,
    Discovery,
    IntrospectionSettings,
    IssuerSettings,
    JwksFile,
    JwksUrl,
    SelfSignedTlsClientAuth,
    TlsClientAuth,
)
from sidecar.issuer.http import HttpClient
from sidecar.issuer.introspection import IntrospectionParts, IssuerIntrospection
from sidecar.issuer.jwks import IssuerKeys
from sidecar.issuer.metadata import MetadataSource
from sidecar.issuer.origin import DiscoveredOrigin, FileOrigin, KeyOrigin, UrlOrigin
from sidecar.issuer.signed_response import SignedResponseVerifier
from sidecar.issuer.state import StateFile
from sidecar.telemetry.issuer_observer import IssuerObserver


@dataclass(slots=True, eq=False)
class Issuer:
    """The parts of one issuer."""

    settings: IssuerSettings
    http: HttpClient
    keys: IssuerKeys | None
    introspection: IssuerIntrospection | None

    async def start(self) -> None:
        """Load the saved keys and begin to fetch; does not wait for the issuer."""
        if self.keys is not None:
            await self.keys.start()

    async def retire(self) -> None:
        """Wait until the requests in progress have their results, then close."""
        if self.keys is not None:
            await self.keys.idle()
        if self.introspection is not None:
            await self.introspection.idle()
        await self.close()

    async def close(self) -> None:
        """Stop fetching, cancel questions, close connections. Can be repeated."""
        if self.keys is not None:
            await self.keys.close()
        if self.introspection is not None:
            await self.introspection.close()
        await self.http.close()


@dataclass(frozen=True, slots=True)
class Shared:
    """The parameters that all issuers share."""

    observer: IssuerObserver
    clock: Clock
    state_directory: Path | None
    generation: int


async def assemble(settings: IssuerSettings, given: Shared) -> Issuer:
    """One issuer, not started. Raises `OSError` and `ValueError` for unusable files."""
    return await asyncio.to_thread(assembled, settings, given)


def assembled(settings: IssuerSettings, given: Shared) -> Issuer:
    """As `assemble`; blocks."""
    http = HttpClient.create(settings.http)
    discovery = settings.keys if isinstance(settings.keys, Discovery) else Discovery()
    metadata = MetadataSource(
        settings.issuer, discovery, http, settings.refresh.maximum_interval, given.clock
    )
    keys = _keys(settings, http, metadata, given)
    if settings.introspection is None:
        return Issuer(settings, http, keys, None)
    introspection = _introspection(settings, settings.introspection, metadata, keys, given)
    return Issuer(settings, http, keys, introspection)


def _keys(
    settings: IssuerSettings, http: HttpClient, metadata: MetadataSource, given: Shared
) -> IssuerKeys | None:
    origin = _origin(settings, http, metadata)
    if origin is None:
        return None
    is_local = origin.interval is not None
    state = (
        None
        if is_local or given.state_directory is None
        else StateFile(given.state_directory, settings.issuer, origin.name)
    )
    return IssuerKeys(
        settings.issuer, origin, settings.refresh, given.observer, state=state, clock=given.clock
    )


def _origin(settings: IssuerSettings, http: HttpClient, metadata: MetadataSource) -> KeyOrigin | None:
    match settings.keys:
        case JwksFile():
            return FileOrigin(settings.keys, settings.http.document_bytes)
        case JwksUrl():
            return UrlOrigin(settings.keys.url, http)
        case Discovery():
            return DiscoveredOrigin(settings.issuer, metadata, http)
        case None:
            return None
        case _:
            assert_never(settings.keys)


def _introspection(
    settings: IssuerSettings,
    introspection: IntrospectionSettings,
    metadata: MetadataSource,
    keys: IssuerKeys | None,
    given: Shared,
) -> IssuerIntrospection:
    authentication = introspection.client_authentication
    verifier = None
    if introspection.signed is not None:
        if keys is None:
            raise ValueError(f"{settings.issuer}: signed introspection responses need the issuer's keys")
        verifier = SignedResponseVerifier(
            introspection.signed, settings.issuer, authentication.client_id, keys, given.clock
        )
    parts = IntrospectionParts(
        http=_question_client(settings, authentication),
        authenticator=client_authenticator(authentication, settings.issuer, given.clock),
        metadata=metadata if introspection.endpoint is None else None,
        verifier=verifier,
        observer=given.observer,
        clock=given.clock,
    )
    return IssuerIntrospection(settings.issuer, introspection, parts, given.generation)


def _question_client(settings: IssuerSettings, authentication: ClientAuthentication) -> HttpClient:
    """Separate connections: the client certificate is presented to the introspection endpoint only."""
    if isinstance(authentication, TlsClientAuth | SelfSignedTlsClientAuth):
        return HttpClient.create(
            settings.http, authentication.certificate_file, authentication.private_key_file
        )
    return HttpClient.create(settings.http)
