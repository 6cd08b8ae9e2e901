"""The keys of one issuer in virtual time: pauses, budgets and distances to the millisecond, on any machine."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Self

from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import RefreshSettings
from sidecar.issuer.jwks import IssuerKeys
from sidecar.issuer.origin import FetchedKeys
from tests.support.issuer_events import IssuerEvents
from tests.support.virtual_time import VirtualTime


class TimedKeys:
    """The product's own `IssuerKeys` and an origin that answers at once; time passes when the test says so."""

    name = "scripted"
    interval = None

    def __init__(self, settings: RefreshSettings, answer: Callable[[], FetchedKeys]) -> None:
        """`answer` is what the issuer serves; it may raise `FetchFailed`, and be replaced."""
        self.answer = answer
        self.fetched_at: list[float] = []
        self._loop = VirtualTime()
        clock = Clock(self._loop.time, self._loop.time)
        self.keys = IssuerKeys("https://as.example.com", self, settings, IssuerEvents(), clock=clock)

    def __enter__(self) -> Self:
        self._loop.run_until_complete(self.keys.start())
        self._loop.settle()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._loop.run_until_complete(self.keys.close())
        self._loop.close()

    async def fetch(self) -> FetchedKeys:
        self.fetched_at.append(self._loop.time())
        return self.answer()

    def asks_for(self, kid: str) -> asyncio.Task[bool]:
        """What the authorizer does with a token signed by `kid`: whether the key is found."""

        async def found() -> bool:
            return (
                self.keys.may_refresh(kid) and (await self.keys.refreshed(kid)).find(kid, "ES256") is not None
            )

        asked = self._loop.create_task(found())
        self._loop.settle()
        return asked

    def passes(self, seconds: float) -> None:
        """Time passes."""
        self._loop.pass_time(seconds)

    @property
    def gaps(self) -> list[float]:
        """Seconds between one fetch and the next."""
        return [later - earlier for earlier, later in pairwise(self.fetched_at)]
