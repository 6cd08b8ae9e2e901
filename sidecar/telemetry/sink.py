"""Where lines go: a bounded buffer in front of a file descriptor that may be slow, stuck, full or closed.

Theory of operation: `write()` appends to a list and never waits. A timer of the event loop hands the list over every
`INTERVAL` seconds, and one thread writes it with blocking calls; so a reader that has stopped reading stops this
thread and nothing else. What does not fit into the buffer meanwhile is dropped and counted. (Making standard output
itself non-blocking would change it for whoever shares it with us: a shell, other workers.)
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

INTERVAL = 0.1
"""Seconds a line may wait in the buffer."""
PIPE_BUFFER = 4096
"""Bytes that one write to a pipe keeps whole beside the writes of others (pipe(7), PIPE_BUF on Linux)."""

Schedule = Callable[[float, Callable[[], None]], object]
"""`loop.call_later`."""


class LineSink:
    """Takes whole lines, each with its newline. Used from the event loop's thread; `write` from any thread that
    holds no lock the loop could need.
    """

    def __init__(
        self,
        descriptor: int = 1,
        path: Path | None = None,
        limit: int = 4 * 1024 * 1024,
        *,
        shared: bool = False,
    ) -> None:
        """`path` wins over `descriptor`; `limit` is in characters; `shared` keeps each write to what a pipe keeps
        whole. Raises OSError if the file cannot be opened.
        """
        self._path = path
        self._descriptor = descriptor if path is None else _opened(path)
        self._limit = limit
        self._shared = shared
        self._lines: list[str] = []
        self._size = 0
        self._handed: list[list[str]] = []
        self._unwritten = 0
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._schedule: Schedule | None = None
        self._scheduled = False
        self._reopen = False
        self._closing = False
        self.dropped = 0
        """Lines lost so far."""

    def attach(self, schedule: Schedule | None) -> None:
        """Use the loop's timer from now on; None: every line is handed over at once."""
        self._schedule = schedule
        self._scheduled = False

    def write(self, line: str) -> None:
        """Take one line, newline included; drop it if the buffer is full. Never waits, never raises."""
        size = self._size + len(line)
        if size + self._unwritten > self._limit:
            self.dropped += 1
            return
        self._size = size
        self._lines.append(line)
        if not self._scheduled:
            if self._schedule is None:
                self.flush()
            else:
                self._scheduled = True
                self._schedule(INTERVAL, self.flush)

    def flush(self) -> None:
        """Hand the lines over to the thread."""
        self._scheduled = False
        lines, self._lines, size, self._size = self._lines, [], self._size, 0
        if not lines:
            return
        with self._wake:
            self._handed.append(lines)
            self._unwritten += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def reopen(self) -> None:
        """Open the file again before the next write: it was moved away. Without effect on standard output."""
        self._reopen = self._path is not None

    def close(self, timeout: float = 1.0) -> None:
        """Write what is left; give up after `timeout` seconds."""
        self._schedule = None
        self.flush()
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def _drain(self) -> None:
        while True:
            with self._wake:
                while not self._handed and not self._closing:
                    self._wake.wait()
                batches, self._handed = self._handed, []
            if not batches:
                return
            for lines in batches:
                self._write(lines)

    def _write(self, lines: list[str]) -> None:
        if self._reopen:
            self._reopen = False
            self._reopened()
        for part, count in self._parts(lines):
            try:
                _write_all(self._descriptor, part)
            except OSError:  # closed, full disk: the requests go on
                self.dropped += count
        with self._wake:
            self._unwritten -= sum(map(len, lines))

    def _parts(self, lines: list[str]) -> Iterable[tuple[bytes, int]]:
        if self._shared:
            return _chunks(lines)
        return [("".join(lines).encode("utf-8", "backslashreplace"), len(lines))]

    def _reopened(self) -> None:
        assert self._path is not None  # noqa: S101 — `reopen` saw to it
        try:
            descriptor = _opened(self._path)
        except OSError as error:
            self._handed.append([f'{{"event":"log file not reopened","error":{str(error)!r}}}\n'])
            return
        os.close(self._descriptor)
        self._descriptor = descriptor


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _chunks(lines: list[str]) -> Iterator[tuple[bytes, int]]:
    """Runs of whole lines that one write to a pipe keeps whole."""
    chunk, count = b"", 0
    for line in lines:
        encoded = line.encode("utf-8", "backslashreplace")
        if count and len(chunk) + len(encoded) > PIPE_BUFFER:
            yield chunk, count
            chunk, count = b"", 0
        chunk += encoded
        count += 1
    if count:
        yield chunk, count
