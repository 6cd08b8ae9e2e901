"""One scripted issuer and the product's own `Issuers` that know it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from sidecar.issuer.configuration import Discovery, IssuersSettings, RefreshSettings
from sidecar.issuer.issuers import Issuers
from tests.support.issuer import ScriptedIssuer
from tests.support.issuer_events import QUICK, IssuerEvents, ManualClock, issuer_settings, until

Scenario = Callable[[Issuers], Awaitable[None]]


def live(
    issuer: ScriptedIssuer,
    events: IssuerEvents,
    scenario: Scenario,
    *,
    refresh: RefreshSettings = QUICK,
    clock: ManualClock | None = None,
    state_directory: Path | None = None,
    discovery: bool = False,
) -> None:
    """Runs `scenario` with issuers that know this one, once its first fetch is over."""
    origin = Discovery() if discovery else None
    settings = IssuersSettings((issuer_settings(issuer, origin, refresh),), state_directory)

    async def run() -> None:
        issuers = Issuers(settings, events) if clock is None else Issuers(settings, events, clock=clock.clock)
        async with issuers:
            await until(lambda: events.refreshed != [])
            await scenario(issuers)

    asyncio.run(run())


def has(issuers: Issuers, issuer: ScriptedIssuer, kid: str) -> bool:
    """Whether the key is in force."""
    key = issuers.keys(issuer.url).find(kid, "ES256")
    return key is not None and is_current(issuers, issuer, key)


def is_current(issuers: Issuers, issuer: ScriptedIssuer, key: object) -> bool:
    """Whether a token that was verified by `key` still is: the register says what the issuer's keys say."""
    said = issuers.in_force.holds(issuer.url, key)
    assert said is issuers.keys(issuer.url).is_current(key)
    return said


async def found(issuers: Issuers, issuer: ScriptedIssuer, kid: str, source: str = "") -> bool:
    """What the authorizer does with a token signed by `kid`."""
    if has(issuers, issuer, kid):
        return True
    if not issuers.may_refresh(issuer.url, kid, source):
        return False
    return (await issuers.refreshed(issuer.url, kid, source)).find(kid, "ES256") is not None
