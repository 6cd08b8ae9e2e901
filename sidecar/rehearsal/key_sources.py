"""The keys that an explanation verifies with: from a file, from the issuers, or none."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from sidecar.decision.ports import IssuerUnavailable, KeySet
from sidecar.decision.token import AccessToken, ValidatedToken
from sidecar.issuer.configuration import IssuersSettings, JwksFile
from sidecar.issuer.issuers import Issuers
from sidecar.issuer.keys import NotAKeySet, load_key_set
from sidecar.telemetry.issuer_observer import Introspected, KeySkipped, KeysRefreshed

PATIENCE: Final = 5.0
"""Seconds to wait for an issuer's keys."""
_MOST_KEYS: Final = 100


class KeysUnreadable(Exception):
    """A JWK set file that is none; the message is one line."""


class PrintingObserver:
    """Implements `IssuerObserver`: prints each failure for the person who waits for the explanation."""

    def keys_refreshed(self, event: KeysRefreshed) -> None:
        """Keys were fetched, or were not."""
        if event.result != "success":
            print(f"keys of {event.issuer}: {event.result}: {event.detail}", file=sys.stderr)

    def key_skipped(self, event: KeySkipped) -> None:
        """A key cannot be used."""
        print(f"keys of {event.issuer}: {event.key} skipped: {event.detail}", file=sys.stderr)

    def introspected(self, event: Introspected) -> None:
        """An introspection endpoint answered, or did not."""
        print(f"introspection at {event.issuer}: {event.result} {event.detail}".rstrip(), file=sys.stderr)

    def issuer_incident(self, issuer: str, name: str, detail: str) -> None:
        """Something an operator should read."""
        print(f"{issuer}: {name}: {detail}", file=sys.stderr)


class FixedKeys:
    """Implements `decision.ports.KeySource` and `TokenIntrospector` with keys that were read from files."""

    def __init__(self, sets: Mapping[str, KeySet]) -> None:
        """`sets`: issuer → its keys."""
        self._sets = sets

    def keys(self, issuer: str) -> KeySet:
        """The keys of an issuer; raises `IssuerUnavailable`."""
        found = self._sets.get(issuer)
        if found is None:
            raise IssuerUnavailable(issuer, "offline")
        return found

    async def refreshed(self, issuer: str, kid: str | None, source: str = "") -> KeySet:
        """The same."""
        return self.keys(issuer)

    def may_refresh(self, issuer: str, kid: str | None, source: str = "") -> bool:
        """Never."""
        return False

    def cached(self, token: AccessToken, issuer: str) -> ValidatedToken | bool | None:
        """Nobody is asked."""
        raise IssuerUnavailable(issuer, "not asked, offline")

    async def introspect(self, token: AccessToken, issuer: str, source: str = "") -> ValidatedToken | bool:
        """Nobody is asked."""
        raise IssuerUnavailable(issuer, "not asked, offline")


def read_keys(path: Path) -> KeySet:
    """The keys in a JWK set file; raises `KeysUnreadable`."""
    try:
        return load_key_set(json.loads(path.read_bytes()), _MOST_KEYS)
    except OSError as error:
        raise KeysUnreadable(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError, NotAKeySet):
        raise KeysUnreadable(f"{path}: is not a JWK set") from None


def local_keys(settings: IssuersSettings, jwks: Path | None) -> FixedKeys:
    """What is known without asking anybody: `jwks` for every issuer, or the files that the policy names."""
    if jwks is not None:
        keys = read_keys(jwks)
        return FixedKeys({one.issuer: keys for one in settings.issuers})
    return FixedKeys(
        {
            one.issuer: read_keys(one.keys.path)
            for one in settings.issuers
            if isinstance(one.keys, JwksFile) and one.keys.path.is_file()
        }
    )


@asynccontextmanager
async def asked(settings: IssuersSettings, issuer: str) -> AsyncIterator[Issuers]:
    """The real issuers, once the keys of `issuer` are here or `PATIENCE` is over. Nothing is kept on disk."""
    async with Issuers(replace(settings, state_directory=None), PrintingObserver()) as issuers:
        known = {one.issuer for one in settings.issuers if one.keys is not None}
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while issuer in known and asyncio.get_running_loop().time() < deadline:
            try:
                issuers.keys(issuer)
                break
            except IssuerUnavailable as outage:
                if outage.phase != "never_loaded":
                    break
                await asyncio.sleep(0.02)
        yield issuers
