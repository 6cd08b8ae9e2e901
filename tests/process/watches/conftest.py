"""Time for whatever the watches ask: what they say of it must not depend on how busy the machine is."""

import pytest

from sidecar.process.watches import bypass, grpc_health, probes


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What listens on this machine answers, however busy it is; the test of one that never does sets its own time."""
    monkeypatch.setattr(bypass, "OPENS_WITHIN", 60.0)
    monkeypatch.setattr(grpc_health, "WITHIN", 60.0)
    monkeypatch.setattr(probes, "UPSTREAM_WITHIN", 60.0)
