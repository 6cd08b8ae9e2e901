"""What an idle TLS connection with a client certificate costs the process, measured in a process of its own."""

from pathlib import Path

import pytest

from tests.data_plane_report import HTTP1, HTTP2, World, hold
from tests.support.lanes import WHOLE

CONNECTIONS = 1500 if WHOLE else 600


@pytest.mark.slow
@pytest.mark.timeout(600)  # a handshake for each, both ends of it
def test_idle_connection_takes_at_most_40_kb_and_8_more_with_http2(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    of_http1 = hold(world, CONNECTIONS, HTTP1).per_connection
    assert of_http1 <= 40 * 1024
    assert hold(world, CONNECTIONS, HTTP2).per_connection - of_http1 <= 8 * 1024
