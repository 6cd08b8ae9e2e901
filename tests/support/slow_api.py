"""An API whose slowness is in the test's hands, on real sockets: what a rule's limits protect, and protect from.

`/held/…` is answered when the test lets it, `/dripping/…` never ends and never pauses, `/silent/…` begins its response
and says no more; all else is answered at once.
"""

import socket
import threading
from typing import Self

from tests.support.recorder import Inbound, Seen
from tests.support.tls_client import BrokenResponse, Truncated

_LONGEST = 120.0
"""Seconds after which it gives up on a test."""
_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class SlowApi:
    """The server, on its own threads. A context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._let_go = threading.Event()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self.held = 0
        """Requests that wait for `let_go`."""
        self.most_held = 0
        """The most there were at a time."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._run(self._accept)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stopped.set()
        self._let_go.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def hold(self) -> None:
        """What comes now under `/held/` waits."""
        self._let_go.clear()
        self.most_held = self.held

    def let_go(self) -> None:
        """What waits is answered."""
        self._let_go.set()

    def _run(self, work: object, *arguments: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(_LONGEST)
            self._run(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            wire = Inbound(connection)
            try:
                while (request := wire.request_message()) is not None:
                    self._answer(wire, request)
            except (Truncated, BrokenResponse, OSError):
                pass  # the sidecar gave up on this request, as it should, or the test is over

    def _answer(self, wire: Inbound, request: Seen) -> None:
        if request.target.startswith("/held/"):
            with self._lock:
                self.held += 1
                self.most_held = max(self.most_held, self.held)
            self._let_go.wait(_LONGEST)
            with self._lock:
                self.held -= 1
        elif request.target.startswith("/dripping/"):
            wire.send(_HEAD)
            while not self._stopped.wait(0.05):
                wire.send(b"1\r\n.\r\n")
        elif request.target.startswith("/silent/"):
            wire.send(_HEAD + b"1\r\n.\r\n")
            self._stopped.wait(_LONGEST)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
