"""The keys that verify the token of an explanation: from a file, from the issuers, or none."""

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
    """The file is not a JWK set; the message is one line."""


class PrintingObserver:
    """Implements `IssuerObserver`: prints each failure for the user of the command."""

    def keys_refreshed(self, event: KeysRefreshed) -> None:
        """A fetch of keys is over."""
        if event.result != "success":
            print(f"keys of {event.issuer}: {event.result}: {event.detail}", file=sys.stderr)

    def key_skipped(self, event: KeySkipped) -> None:
        """A key cannot be used."""
        print(f"keys of {event.issuer}: {event.key} skipped: {event.detail}", file=sys.stderr)

    def introspected(self, event: Introspected) -> None:
        """A question to an introspection endpoint is over."""
        print(f"introspection at {event.issuer}: {event.result} {event.detail}".rstrip(), file=sys.stderr)

    def issuer_incident(self, issuer: str, name: str, detail: str) -> None:
        """An event that an operator should see."""
        print(f"{issuer}: {name}: {detail}", file=sys.stderr)


class FixedKeys:
    """Implements `decision.ports.KeySource` and `TokenIntrospector` with keys that were read from files."""

    def __init__(self, sets: Mapping[str, KeySet]) -> None:
        """`sets`: issuer → its keys."""
        self._sets = sets

    def keys(self, issuer: str) -> KeySet:
        """The keys of an issuer. Raises `IssuerUnavailable`."""
        found = self._sets.get(issuer)
        if found is None:
            raise IssuerUnavailable(issuer, "offline")
        return found

    async def refreshed(self, issuer: str, kid: str | None, source: str = "") -> KeySet:
        """The same."""
        return self.keys(issuer)

    def may_refresh(self, issuer: str, kid: str | None, source: str = "") -> bool:
        """False: there are no other keys."""
        return False

    def cached(self, token: AccessToken, issuer: str) -> ValidatedToken | bool | None:
        """Raises `IssuerUnavailable`: no issuer is asked."""
        raise IssuerUnavailable(issuer, "not asked, offline")

    async def introspect(self, token: AccessToken, issuer: str, source: str = "") -> ValidatedToken | bool:
        """Raises `IssuerUnavailable`: no issuer is asked."""
        raise IssuerUnavailable(issuer, "not asked, offline")


def read_keys(path: Path) -> KeySet:
    """The keys in a JWK set file. Raises `KeysUnreadable`."""
    try:
        return load_key_set(json.loads(path.read_bytes()), _MOST_KEYS)
    except OSError as error:
        raise KeysUnreadable(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError, NotAKeySet):
        raise KeysUnreadable(f"{path}: is not a JWK set") from None


def local_keys(settings: IssuersSettings, jwks: Path | None) -> FixedKeys:
    """The keys that are known offline: `jwks` for every issuer, or the files that the policy names."""
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
    """The real issuers, after the keys of `issuer` were loaded or `PATIENCE` is over. Nothing is saved to disk."""
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
