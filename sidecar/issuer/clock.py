"""The two clocks of the issuer side. Ages and pauses use the monotonic one."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Clocks in seconds. Tests pass their own."""

    monotonic: Callable[[], float] = time.monotonic
    """For ages, cool-downs and lifetimes: independent of changes to the wall clock."""
    wall: Callable[[], float] = time.time
    """For times in documents: `exp`, `iat`, and when a state file was saved."""


SYSTEM_CLOCK = Clock()
