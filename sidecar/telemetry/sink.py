"""Where lines go: a bounded buffer in front of a file descriptor that may be slow, stuck, full or closed.

Theory of operation: `write()` appends to a list and never waits. A timer of the event loop hands the list over every
`INTERVAL` seconds, and `write()` itself as soon as `BATCH` characters are in it: a loop that is busy with one turn
loses nothing. One thread writes what is handed over with blocking calls; so a reader that has stopped reading stops
this thread and nothing else. What does not fit into the buffer meanwhile is dropped and counted. (Making standard
output itself non-blocking would change it for whoever shares it with us: a shell, other workers.)

A sink that reserves keeps half of its buffer for lines whose place was reserved before what they tell of was done.
Such a line is never dropped: without a place nothing is done. A write that fails is tried again for as long as the
process lives, so that a full disk fills the buffer, and a full buffer stops what needs a place.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

INTERVAL = 0.1
"""Seconds a line may wait in the buffer."""
BATCH = 65536
"""Characters that are handed over whatever the event loop does."""
PLACE = 4096
"""Characters that one reservation keeps free: most lines are shorter, and a longer one is written all the same."""
RETRY = 0.2
"""Seconds between two attempts of a sink that reserves to write what could not be written."""
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
        reserves: bool = False,
    ) -> None:
        """`path` wins over `descriptor`; `limit` is in characters; `shared` keeps each write to what a pipe keeps
        whole; `reserves`: see above. Raises OSError if the file cannot be opened.
        """
        self._path = path
        self._descriptor = descriptor if path is None else _opened(path)
        self._limit = limit
        self.reserves = reserves
        self._free_for_all = limit // 2 if reserves else limit
        """Characters that lines without a place may fill."""
        self._reserved = 0
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

    def write(self, line: str, has_place: bool = False) -> None:  # noqa: FBT001, FBT002 — once a request
        """Take one line, newline included; drop it if the buffer is full, unless a place was reserved for it. Never
        waits, never raises.
        """
        size = self._size + len(line)
        if has_place:
            self._reserved -= PLACE
        elif size + self._unwritten + self._reserved > self._free_for_all:
            self.dropped += 1
            return
        self._size = size
        self._lines.append(line)
        if size >= BATCH:
            self.flush()
        elif not self._scheduled:
            self._schedule_flush()

    def reserve(self) -> bool:
        """Keep a place for one line; False: there is none."""
        if self._size + self._unwritten + self._reserved + PLACE > self._limit:
            return False
        self._reserved += PLACE
        return True

    @property
    def held(self) -> int:
        """Characters in the buffer, reserved places included."""
        return self._size + self._unwritten + self._reserved

    def _schedule_flush(self) -> None:
        if self._schedule is None:
            self.flush()
        else:
            self._scheduled = True
            self._schedule(INTERVAL, self._interval_is_over)

    def _interval_is_over(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Hand the lines over to the thread."""
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
        if self._unwritten > self._limit // 4:
            time.sleep(0)  # no wait: the thread gets its turn, however busy this one is

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
            if not self._written(part):  # closed, full disk: the requests go on
                self.dropped += count
        size = sum(map(len, lines))
        with self._wake:
            self._unwritten -= size

    def _written(self, data: bytes) -> bool:
        """Whether all of it went out; a sink that reserves tries until it did, or is closed."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                if not self._may_try_again():
                    return False
        return True

    def _may_try_again(self) -> bool:
        if not self.reserves:
            return False
        with self._wake:
            if not self._closing:
                self._wake.wait(RETRY)
        if self._reopen:
            self._reopen = False
            self._reopened()
        return not self._closing

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
