"""The two clocks of the issuer side. Ages and pauses use the one that never jumps."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds. Tests bring their own."""

    monotonic: Callable[[], float] = time.monotonic
    """For ages, cool-downs and lifetimes: a jump of the wall clock changes none of them."""
    wall: Callable[[], float] = time.time
    """For what is written in documents: `exp`, `iat`, and when a state file was saved."""


SYSTEM_CLOCK = Clock()
