"""An upstream that records the exact requests it is sent and answers each 200: what got behind the proxy.

It is strict: what is not HTTP/1.1 with a length or in chunks lands in `broken`. A request that the proxy began and
gave up on is counted in `cut`: no server acts on it.
"""

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Self

from tests.support.tls_client import BrokenResponse, Response, Truncated, Wire


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived; names keep their case, values their bytes (as Latin-1)."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    trailers: tuple[tuple[str, str], ...] = ()

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Inbound(Wire):
    """The server's end of one connection, read request by request."""

    def request_message(self) -> Seen | None:
        """The next request; None at the end of the stream. Raises `BrokenResponse` on anything else."""
        if not self._buffer and not self._fill():
            return None
        parts = self._line().decode("latin-1").split(" ")
        if len(parts) != 3 or parts[2] not in {"HTTP/1.1", "HTTP/1.0"}:
            raise BrokenResponse(f"no request line: {parts!r}")
        head = Response(parts[2], 200, "", self._fields())
        lengths, codings = head.all("content-length"), head.all("transfer-encoding")
        if len(lengths) + len(codings) > 1:
            raise BrokenResponse(f"framing is ambiguous: {lengths} {codings}")
        body, trailers = self.body(head) if lengths or codings else (b"", ())
        return Seen(parts[0], parts[1], head.headers, body, trailers)


@dataclass
class Recorder:
    """The server, on its own threads. Use as a context manager."""

    seen: list[Seen] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    cut: int = 0
    host: str = "127.0.0.1"
    """Where it listens; `::1` is an API of IPv6 only."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.host, 0), family=self._family, backlog=256)
        self._open: set[socket.socket] = set()
        self._conversations: list[threading.Thread] = []
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, name="recorder", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # ends the read of its thread, which closes it
        for conversation in self._conversations:
            conversation.join(20)

    @property
    def _family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def clear(self) -> None:
        self.seen.clear()
        self.broken.clear()
        self.cut = 0

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            self._conversations.append(
                threading.Thread(target=self._converse, args=[connection], daemon=True)
            )
            self._conversations[-1].start()

    def _converse(self, connection: socket.socket) -> None:
        wire = Inbound(connection)
        connection.settimeout(None)
        try:
            while (request := wire.request_message()) is not None:
                self.seen.append(request)
                body = b"" if request.method == "HEAD" else b"seen"
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)
        except Truncated:
            self.cut += 1
        except BrokenResponse as problem:
            self.broken.append(str(problem))
        except (OSError, ValueError):
            pass  # the proxy gave up on this connection, or the test is over
        finally:
            self._open.discard(connection)
            connection.close()
