"""Introspection at a scripted issuer: settings, the introspector, and what it is asked."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sidecar.decision.token import AccessToken
from sidecar.issuer.clock import SYSTEM_CLOCK
from sidecar.issuer.configuration import (
    ClientAuthentication,
    ClientSecretPost,
    IntrospectionSettings,
    IssuerSettings,
    IssuersSettings,
    KeyOrigin,
)
from sidecar.issuer.issuers import Issuers
from tests.support.issuer import INTROSPECTION_PATH, ScriptedIssuer
from tests.support.issuer_events import PLAIN, QUICK, IssuerEvents, ManualClock, until
from tests.support.mint import AUDIENCE, claims_set
from tests.support.pki import Identity
from tests.support.world import DIGEST_KEY


def opaque(value: str) -> AccessToken:
    """An opaque access token, with the digest the authorizer would make."""
    return AccessToken(value, DIGEST_KEY)


def active(
    issuer: ScriptedIssuer, presenter: Identity | str | None = None, **claims: object
) -> dict[str, object]:
    """What an issuer says of an active token bound to `presenter`; a claim of None is left out."""
    response = {"active": True, **claims_set(presenter, iss=issuer.url, aud=AUDIENCE), **claims}
    return {name: value for name, value in response.items() if value is not None}


def introspection_settings(
    issuer: ScriptedIssuer, folder: Path, authentication: ClientAuthentication | None = None, **changes: Any
) -> IntrospectionSettings:
    """Asks a scripted issuer as the client `api`."""
    secret = folder / "client-secret"
    secret.write_text("client-password")
    given = authentication or ClientSecretPost("api", secret)
    return replace(IntrospectionSettings(given, issuer.introspection_url), **changes)


def asking(
    issuer: ScriptedIssuer,
    events: IssuerEvents,
    settings: IntrospectionSettings,
    scenario: Callable[[Issuers], Awaitable[None]],
    *,
    keys: KeyOrigin | None = None,
    clock: ManualClock | None = None,
) -> None:
    """Runs `scenario` with issuers that ask this one, after the first fetch of `keys`."""
    one = IssuerSettings(issuer.url, keys, QUICK, PLAIN, settings)
    clocks = SYSTEM_CLOCK if clock is None else clock.clock

    async def run() -> None:
        async with Issuers(IssuersSettings((one,)), events, clock=clocks) as issuers:
            await until(lambda: keys is None or events.refreshed != [])
            await scenario(issuers)

    asyncio.run(run())


def questions(issuer: ScriptedIssuer) -> list[Mapping[str, str]]:
    """The forms that were posted to the introspection endpoint."""
    return [request.form for request in issuer.requests if request.path.endswith(INTROSPECTION_PATH)]
