"""What the tests of used proofs share."""

import pytest

from sidecar.process.replay import redis_guard, shared_memory


@pytest.fixture
def real_deadline() -> None:
    """For what must be over in time: claims have the deadline that they have in a process that serves."""


@pytest.fixture(autouse=True)
def _patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everywhere else a busy machine is not out of reach."""
    if "real_deadline" not in request.fixturenames:
        for module in (redis_guard, shared_memory):
            monkeypatch.setattr(module, "DEADLINE", 30.0)
