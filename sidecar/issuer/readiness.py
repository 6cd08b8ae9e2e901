"""The state of each issuer, for `/readyz` and metrics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyState:
    """The keys of one issuer at one moment."""

    issuer: str
    usable: int
    """Number of keys in force."""
    age: float | None
    """Seconds since the issuer last confirmed them; None if it never has."""
    staleness_budget: float
    """Seconds for which the last good keys are used while the issuer cannot be reached."""
    is_ready: bool
    """There are keys, within the staleness budget."""
    failed_phase: str | None
    """Phase of the last failure; None if the last attempt succeeded."""
    failures: int
    """Number of consecutive failures."""
    skipped: Mapping[str, int]
    """Reason → number of keys of the present set that are not used."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the keys of every needed issuer have been loaded."""

    is_ready: bool
    waiting_for: tuple[str, ...]
    """Needed issuers whose keys are missing, or older than the staleness budget."""
    states: tuple[KeyState, ...]


def readiness(states: Iterable[KeyState], needed: frozenset[str], *, was_ready: bool) -> Readiness:
    """Ready as soon as the keys of all `needed` issuers are loaded; a later outage does not change that.

    `was_ready` is the previous result. During an outage, requests get 503 and metrics show it; to take the whole
    service out of rotation would affect the clients of all other issuers.
    """
    known = tuple(states)
    waiting = tuple(state.issuer for state in known if state.issuer in needed and not state.is_ready)
    return Readiness(was_ready or not waiting, waiting, known)
