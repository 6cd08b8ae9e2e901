"""Times for display: by how much a token or a certificate is too old or too new."""

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
"""Check → the error of the presented time."""


def untimely(denial: Denial | None, now: float) -> Diagnosis | None:
    """The meaning of a failed check of a time at `now` (seconds since the epoch); None if no such check failed."""
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
    """A duration in the largest unit of which it has at least two, or in seconds: `58 minutes`."""
    seconds = max(0, round(seconds))
    for size, unit in _UNITS:
        count = seconds // size
        if count >= 2 or size == 1:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    raise AssertionError
