"""Moments and spans of time, as case files and `sidecar explain --at` write them."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from sidecar.settings.problem import shown
from sidecar.settings.scalars import DURATION_PATTERN, parse_duration

_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$"


def parse_moment(value: Any) -> float:
    """Seconds since the epoch; raises `ValueError`."""
    if not isinstance(value, str):
        raise ValueError("a time is written 2027-01-31T12:00:00Z or 2027-01-31")  # noqa: TRY004
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{shown(value)} is not of the form 2027-01-31T12:00:00Z or 2027-01-31") from None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _span(value: Any) -> float:
    """A duration that may lie in the past."""
    if isinstance(value, str) and value.startswith("-"):
        return -parse_duration(value[1:])
    return parse_duration(value)


Moment = Annotated[
    float, BeforeValidator(parse_moment), WithJsonSchema({"type": "string", "pattern": _MOMENT})
]
"""Seconds since the epoch."""
Span = Annotated[
    float,
    BeforeValidator(_span),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN.replace("^", "^-?", 1)}),
]
"""Seconds from the case's moment on; negative: before it."""
