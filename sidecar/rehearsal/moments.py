"""Times for people: by how much a token or a certificate came too late or too early."""

from math import isfinite
from typing import Final

from sidecar.decision.denial import Denial
from sidecar.decision.diagnosis import Diagnosis

_UNITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_SENTENCES: Final = {
    "exp": "The token expired {ago} ago",
    "nbf": "The token is not valid for another {ahead}",
    "iat": "The token was issued {ahead} in the future",
    "certificate.not_after": "The client certificate expired {ago} ago",
}
"""Check → what is wrong with the time that was presented."""


def untimely(denial: Denial | None, now: float) -> Diagnosis | None:
    """What a check of the time that failed at `now` (seconds since the epoch) means; None when none did."""
    for failure in denial.failures if denial is not None else ():
        sentence = _SENTENCES.get(failure.check)
        if sentence is None:
            continue
        try:
            distance = float(failure.presented) - now
        except ValueError:
            continue
        if isfinite(distance):
            told = sentence.format(ago=span(-distance), ahead=span(distance))
            return Diagnosis("time", f"{told}; if that cannot be, the clocks differ.")
    return None


def span(seconds: float) -> str:
    """A length of time in the largest unit that it has two of, or in seconds: `58 minutes`."""
    seconds = max(0, round(seconds))
    for size, unit in _UNITS:
        count = seconds // size
        if count >= 2 or size == 1:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    raise AssertionError
