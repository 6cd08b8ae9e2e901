"""What an idle TLS connection with a client certificate costs the process, measured in a process of its own."""

from pathlib import Path

import pytest

from tests.data_plane_report import World, hold
from tests.support.lanes import WHOLE

CONNECTIONS = 1500 if WHOLE else 700


@pytest.mark.slow
@pytest.mark.timeout(300)  # a handshake for each, both ends of it
def test_idle_connection_takes_at_most_40_kb(tmp_path: Path) -> None:
    assert hold(World.create(tmp_path), CONNECTIONS).per_connection <= 40 * 1024
