"""What the issuer side reports: every fetch of keys and every introspection, with the phase that failed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KeysRefreshed:
    """One attempt to fetch the keys of an issuer is over."""

    issuer: str
    result: str
    """`success`, or the phase that failed: `dns`, `connect`, `tls`, `status`, `size`, `parse`, `timeout`; `internal`
    is a mistake of ours."""
    detail: str
    """One plain sentence for the log; empty on success."""
    seconds: float
    usable: int = 0
    """Keys now in force."""
    skipped: Mapping[str, int] | None = None
    """Reason → number of keys that were skipped for it."""


@dataclass(frozen=True, slots=True)
class KeySkipped:
    """One key of an issuer's set cannot be used."""

    issuer: str
    key: str
    """Its `kid`, escaped and cut, or its place in the set."""
    reason: str
    """From the closed list `sidecar.issuer.keys.Unusable`."""
    detail: str


@dataclass(frozen=True, slots=True)
class Introspected:
    """One question to an introspection endpoint is over."""

    issuer: str
    result: str
    """`active`, `inactive`, `refused`, or the phase that failed; also `circuit_open` and `overload`."""
    detail: str
    seconds: float


class IssuerObserver(Protocol):
    """The interface of an observer. Called on the event loop; must neither block nor raise."""

    def keys_refreshed(self, event: KeysRefreshed) -> None:
        """Keys were fetched, or were not."""

    def key_skipped(self, event: KeySkipped) -> None:
        """A key that was not skipped before is skipped now."""

    def introspected(self, event: Introspected) -> None:
        """An introspection endpoint answered, or did not. Cache hits are not reported."""

    def issuer_incident(self, issuer: str, name: str, detail: str) -> None:
        """Something an operator should read: `state_unreadable`, `state_unwritable`, `circuit_opened`,
        `circuit_closed`, `insecure_http`, `discovery_changed`. The name is from this closed list.
        """
