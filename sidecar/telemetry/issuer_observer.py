"""The events of the issuer side: every fetch of keys and every introspection, with the phase that failed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KeysRefreshed:
    """An attempt to fetch the keys of an issuer is over."""

    issuer: str
    result: str
    """`success`, or the phase that failed: `dns`, `connect`, `tls`, `status`, `size`, `parse`, `timeout`; `internal`
    is an internal error.
    """
    detail: str
    """One plain sentence for the log; empty on success."""
    seconds: float
    usable: int = 0
    """Number of keys now in force."""
    skipped: Mapping[str, int] | None = None
    """Reason → number of keys that were skipped for it."""


@dataclass(frozen=True, slots=True)
class KeySkipped:
    """One key of an issuer's set that cannot be used."""

    issuer: str
    key: str
    """Its `kid`, escaped and truncated, or its index in the set."""
    reason: str
    """From the closed list `sidecar.issuer.keys.Unusable`."""
    detail: str


@dataclass(frozen=True, slots=True)
class Introspected:
    """A question to an introspection endpoint is over."""

    issuer: str
    result: str
    """`active`, `inactive`, `refused`, or the phase that failed; also `circuit_open` and `overload`."""
    detail: str
    seconds: float


class IssuerObserver(Protocol):
    """Observer of the issuer side. Called on the event loop; must neither block nor raise."""

    def keys_refreshed(self, event: KeysRefreshed) -> None:
        """A fetch of keys is over."""

    def key_skipped(self, event: KeySkipped) -> None:
        """A key is skipped that was not skipped before."""

    def introspected(self, event: Introspected) -> None:
        """A question to an introspection endpoint is over. Cache hits are not reported."""

    def issuer_incident(self, issuer: str, name: str, detail: str) -> None:
        """An event that an operator should see: `state_unreadable`, `state_unwritable`, `circuit_opened`,
        `circuit_closed`, `insecure_http`, `discovery_changed`. The name is from this closed list.
        """
