"""What came out of a decoder: a value, or the refusal that it raised."""

from collections.abc import Callable
from typing import TypeVar

from sidecar.decision.denial import Denied

Value = TypeVar("Value")


def outcome(decode: Callable[[], Value]) -> Value | Denied:
    """Both are right; anything else goes through."""
    try:
        return decode()
    except Denied as denied:
        return denied
