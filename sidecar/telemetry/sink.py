"""The destination of lines: a bounded buffer in front of a file descriptor that may be slow, blocked, full or closed.

Theory of operation. `write()` appends to a list and never waits. A timer of the event loop hands the list over every
`INTERVAL` seconds; `write()` itself does so as soon as the list has `BATCH` characters, so that a long turn of the
loop loses nothing. One thread writes with blocking calls: if the reader stops reading, only this thread stops. Lines
that do not fit into the buffer meanwhile are dropped and counted. (A non-blocking standard output would also be
non-blocking for other processes that share it: a shell, other workers.)

A sink that reserves keeps half of its buffer for lines whose place was reserved before the action that they report.
Such a line is never dropped: without a place, the action is not performed. A failed write is repeated as long as the
process runs, so that a full disk fills the buffer, and a full buffer stops the actions that need a place.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Final

INTERVAL: Final = 0.1
"""Seconds that a line may wait in the buffer."""
BATCH: Final = 262144
"""Number of characters at which the list is handed over without the timer. Each time, two threads contend for the
interpreter: under a load that fills a batch in less than `INTERVAL`, that costs more than the writing.
"""
SMALL_BATCH: Final = 65536
"""The same for a small buffer, of which a batch should be a part."""
PLACE: Final = 4096
"""Characters that one reservation keeps free: most lines are shorter, and a longer one is written too."""
RETRY: Final = 0.2
"""Seconds between two attempts of a sink that reserves to repeat a failed write."""
PIPE_BUFFER: Final = 4096
"""Maximum bytes of an atomic write to a pipe (pipe(7), PIPE_BUF on Linux)."""

Schedule = Callable[[float, Callable[[], None]], object]
"""The type of `loop.call_later`."""
Batch = tuple[list[str], int]
"""Lines, and the number of their characters."""


class LineSink:
    """Accepts whole lines, each with its newline. Used from the event loop's thread; `write` from any thread that
    holds no lock which the loop may need.
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
        """`path` takes precedence over `descriptor`; `limit` is in characters; `shared` limits each write to what a
        pipe writes atomically; `reserves`: see above. Raises `OSError` if the file cannot be opened.
        """
        self._path = path
        self._descriptor = descriptor if path is None else _opened(path)
        self._limit = limit
        self.reserves = reserves
        self._free_for_all = limit // 2 if reserves else limit
        """Maximum characters of lines without a place."""
        self._reserved = 0
        self._shared = shared
        self._batch = max(SMALL_BATCH, min(BATCH, limit // 4))
        self._lines: list[str] = []
        self._size = 0
        self._handed: SimpleQueue[Batch | None] = SimpleQueue()
        """Batches for the thread; None ends it."""
        self._passed = self._done = 0
        """Characters handed over so far, and those of them that are written or lost. The thread alone changes the
        second, so that nobody waits for it.
        """
        self._passing = threading.Lock()
        self._writer: threading.Thread | None = None
        self._schedule: Schedule | None = None
        self._scheduled = False
        self._reopen = False
        self._closing = threading.Event()
        self.dropped = 0
        """Number of lines lost so far."""

    def attach(self, schedule: Schedule | None) -> None:
        """From now on, use the loop's timer; None: every line is handed over at once."""
        self._schedule = schedule
        self._scheduled = False

    def write(self, line: str, has_place: bool = False) -> None:  # noqa: FBT001, FBT002 — once a request
        """Write one line, newline included. It is dropped if the buffer is full and no place was reserved for it.
        Never waits, never raises.
        """
        size = self._size + len(line)
        if has_place:
            self._reserved -= PLACE
        elif size + self._passed - self._done + self._reserved > self._free_for_all:
            self.dropped += 1
            return
        self._size = size
        self._lines.append(line)
        if size >= self._batch:
            self.flush()
        elif not self._scheduled:
            self._schedule_flush()

    def reserve(self) -> bool:
        """Reserve a place for one line; returns False if there is none."""
        if self.held + PLACE > self._limit:
            return False
        self._reserved += PLACE
        return True

    @property
    def held(self) -> int:
        """Number of characters in the buffer, including reserved places."""
        return self._size + self._unwritten + self._reserved

    @property
    def _unwritten(self) -> int:
        return self._passed - self._done

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
        """Pass the lines on to the thread."""
        lines, self._lines, size, self._size = self._lines, [], self._size, 0
        if not lines:
            return
        with self._passing:
            self._passed += size
            self._handed.put((lines, size))
            if self._writer is None:
                self._writer = threading.Thread(target=self._drain, name="log", daemon=True)
                self._writer.start()
        if self._unwritten > self._limit // 4:
            time.sleep(0)  # no wait: it lets the other thread run

    def reopen(self) -> None:
        """Open the file again before the next write, because it was moved. Without effect on standard output."""
        self._reopen = self._path is not None

    def close(self, timeout: float = 1.0) -> None:
        """Write the remaining lines; stop after `timeout` seconds."""
        self._schedule = None
        self.flush()
        self._closing.set()
        if self._writer is not None:
            self._handed.put(None)
            self._writer.join(timeout)

    def _drain(self) -> None:
        while True:
            batch = self._handed.get()
            if batch is not None:
                self._write(batch[0])
                self._done += batch[1]
            elif self._handed.empty():
                return
            else:
                self._handed.put(None)  # lines came after the end: they are written first

    def _write(self, lines: list[str]) -> None:
        if self._reopen:
            self._reopen = False
            self._reopened()
        for part, count in self._parts(lines):
            if not self._written(part):  # closed, full disk: requests continue
                self.dropped += count

    def _written(self, data: bytes) -> bool:
        """Whether everything was written; a sink that reserves tries until it was, or until it is closed."""
        rest = memoryview(data)
        while rest:
            try:
                # Not in the slice: compiled, it would be called twice.
                written = os.write(self._descriptor, rest)
                rest = rest[written:]
            except OSError:
                if not self._may_try_again():
                    return False
        return True

    def _may_try_again(self) -> bool:
        if not self.reserves:
            return False
        self._closing.wait(RETRY)
        if self._reopen:
            self._reopen = False
            self._reopened()
        return not self._closing.is_set()

    def _parts(self, lines: list[str]) -> Iterable[tuple[bytes, int]]:
        if self._shared:
            return _chunks(lines)
        return [("".join(lines).encode("utf-8", "backslashreplace"), len(lines))]

    def _reopened(self) -> None:
        assert self._path is not None  # noqa: S101 — `reopen` checks that
        try:
            descriptor = _opened(self._path)
        except OSError as error:
            self._handed.put(([f'{{"event":"log file not reopened","error":{str(error)!r}}}\n'], 0))
            return
        os.close(self._descriptor)
        self._descriptor = descriptor


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _chunks(lines: list[str]) -> Iterator[tuple[bytes, int]]:
    """Split lines into groups that a pipe writes atomically."""
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
