"""What is known of each issuer, for `/readyz` and metrics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyState:
    """The keys of one issuer at one moment."""

    issuer: str
    usable: int
    """Keys in force."""
    age: float | None
    """Seconds since they were last known to be the issuer's; None when there never were any."""
    staleness_budget: float
    """Seconds that the last good keys serve when the issuer is out of reach."""
    is_ready: bool
    """There are keys, within the staleness budget."""
    failed_phase: str | None
    """Phase of the last failure; None when the last attempt succeeded."""
    failures: int
    """In a row."""
    skipped: Mapping[str, int]
    """Reason → keys of the present set that are not used."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether every issuer that a rule needs has been heard of."""

    is_ready: bool
    waiting_for: tuple[str, ...]
    """Needed issuers whose keys are missing, or older than the staleness budget."""
    states: tuple[KeyState, ...]


def readiness(states: Iterable[KeyState], needed: frozenset[str], *, was_ready: bool) -> Readiness:
    """Ready once the keys of all `needed` issuers are there; a later outage changes nothing.

    `was_ready`: it was before. An outage is answered request by request (503) and seen in metrics, while taking the
    whole service out of rotation would punish the clients of all other issuers.
    """
    known = tuple(states)
    waiting = tuple(state.issuer for state in known if state.issuer in needed and not state.is_ready)
    return Readiness(was_ready or not waiting, waiting, known)
