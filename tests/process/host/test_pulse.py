"""The pulse of the process, and what it says of the loop that it beats on."""

import asyncio

import pytest

from sidecar.process.endpoints.health import HEARTBEAT_AGE, heartbeat
from sidecar.process.host import pulse
from sidecar.process.host.pulse import Pulse
from sidecar.telemetry.metrics import Metrics


def test_heartbeat_that_stops_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "BEAT", 0.001)

    async def main() -> None:
        found = Pulse(Metrics())
        found._beaten -= 30.0
        assert found.age >= 30.0
        beaten = asyncio.Event()
        found.every(0.0, beaten.set)
        beating = asyncio.create_task(found.run())
        await asyncio.wait_for(beaten.wait(), 60)
        assert found.age < 30.0
        beating.cancel()

    asyncio.run(main())


def test_process_counts_as_alive_until_its_heartbeat_is_too_old() -> None:
    young, old = (heartbeat(HEARTBEAT_AGE + more, "event_loop", "it has not turned") for more in (0, 0.6))
    assert (young.ok, young.detail) == (True, "")
    assert (old.ok, old.detail) == (False, "it has not turned for 11 s")
