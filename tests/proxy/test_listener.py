"""Connections that come all at once are accepted a few in each turn of the event loop, and none of them is lost."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from sidecar.proxy.configuration import ListenerSettings, ProxySettings
from sidecar.proxy.server import Server
from tests.support.cleartext import CleartextTls
from tests.support.conversation import LISTENER, UPSTREAM
from tests.support.deciding import Gate, Observed

CROWD = 300
"""More than asyncio's own backlog of 100 and than the smallest that the kernel may be set to (128)."""
MOST = 17
"""asyncio of Python 3.13 accepts one more than it was told."""
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


async def _accepted_in_each_turn(listener: ListenerSettings) -> list[int]:
    """How many of a crowd, which waits in the kernel, are there after each turn more than before."""
    server = Server(
        ProxySettings((listener,), UPSTREAM), Gate(), Observed(), tls_factory=lambda _: CleartextTls()
    )
    await server.start()
    with ExitStack() as stack:
        for _ in range(CROWD):
            family, address = (
                (socket.AF_UNIX, listener.path)
                if listener.path
                else (socket.AF_INET, ("127.0.0.1", server.listeners[0].port))
            )
            # The kernel takes them: it does not wait for the loop, which stands still here.
            client = stack.enter_context(socket.socket(family))
            client.settimeout(60)
            client.connect(address)
        each, before = list[int](), 0
        while before < CROWD:
            await asyncio.sleep(0)
            if server.connections > before:
                each.append(server.connections - before)
                before = server.connections
        server.close()
        while server.connections:
            await asyncio.sleep(0)
    await asyncio.sleep(0.01)  # transports close their sockets after they have said so
    return each


@pytest.mark.parametrize("path", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("loop", LOOPS)
def test_crowd_is_accepted_a_few_in_each_turn(loop: str, *, path: bool, tmp_path: Path) -> None:
    listener = replace(LISTENER, host="", path=str(tmp_path / "socket")) if path else LISTENER
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        each = runner.run(asyncio.wait_for(_accepted_in_each_turn(listener), 60))
    assert sum(each) == CROWD
    assert max(each) <= MOST
