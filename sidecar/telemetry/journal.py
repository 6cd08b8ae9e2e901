"""Log lines about the process: started, reloaded, draining, failed. JSON lines, or text for a terminal.

The journal and the access lines share one sink, so that a reader sees them in order. Libraries use `logging`;
`JournalHandler` passes their messages on to the journal.
"""

import logging
import os
import time
from collections.abc import Callable
from json import dumps

from sidecar.telemetry.access import bounded, timestamp, visible
from sidecar.telemetry.configuration import Format, Level
from sidecar.telemetry.sink import LineSink

Value = str | int | float | bool | list[str]

LEVELS = {Level.DEBUG: 10, Level.INFO: 20, Level.WARNING: 30, Level.ERROR: 40}
"""The level numbers of `logging`."""


class Journal:
    """Writes events. The level may be changed while it runs."""

    def __init__(
        self,
        sink: LineSink,
        format: Format = Format.JSON,  # noqa: A002 — the name of the setting
        level: Level = Level.INFO,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sink = sink
        self.format = (Format.TEXT if os.isatty(1) else Format.JSON) if format is Format.AUTO else format
        self.level = level
        self._clock = clock

    def debug(self, event: str, **members: Value) -> None:
        """Log details for troubleshooting."""
        self.say(Level.DEBUG, event, **members)

    def info(self, event: str, **members: Value) -> None:
        """Log information that needs no action."""
        self.say(Level.INFO, event, **members)

    def warning(self, event: str, **members: Value) -> None:
        """Log a problem that an operator should look at during working hours."""
        self.say(Level.WARNING, event, **members)

    def error(self, event: str, **members: Value) -> None:
        """Log a problem that an operator should look at immediately."""
        self.say(Level.ERROR, event, **members)

    def say(self, level: Level, event: str, **members: Value) -> None:
        """Write one line, if the level includes it."""
        if LEVELS[level] < LEVELS[self.level]:
            return
        now = timestamp(self._clock())
        if self.format is Format.TEXT:
            told = "".join(f" {name}={visible(_text(value))}" for name, value in members.items())
            self.sink.write(f"{now[11:23]} {level.value.upper():7} {visible(event)}{told}\n")
        else:
            self.sink.write(dumps({"time": now, "event": event, "level": level.value, **members}) + "\n")


def _text(value: Value) -> str:
    return "; ".join(value) if isinstance(value, list) else str(value)


class JournalHandler(logging.Handler):
    """Passes log records of libraries on to the journal; a traceback becomes one member of one line."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._journal.say(
                _level(record.levelno), bounded(record.getMessage()), logger=record.name, **_cause(record)
            )
        except Exception:  # noqa: BLE001 — a record that cannot be formatted must not end its caller
            self._journal.sink.dropped += 1


def _level(number: int) -> Level:
    return next((level for level in reversed(LEVELS) if LEVELS[level] <= number), Level.DEBUG)


def _cause(record: logging.LogRecord) -> dict[str, str]:
    if record.exc_info is None or record.exc_info[0] is None:
        return {}
    return {"traceback": logging.Formatter().formatException(record.exc_info)}


def adopt_library_logs(journal: Journal) -> None:
    """From now on, send the log records of all libraries to the journal."""
    root = logging.getLogger()
    root.handlers = [JournalHandler(journal)]
    root.setLevel(logging.INFO)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
