"""The event loop, and how many processors there are for it."""

import asyncio
import os


def event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, or the standard library's with SIDECAR_LOOP=asyncio."""
    if os.environ.get("SIDECAR_LOOP") == "asyncio":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 — not loaded when not wanted

    return uvloop.new_event_loop()


def available_processors() -> int:
    """CPUs this process may run on."""
    return len(os.sched_getaffinity(0))
