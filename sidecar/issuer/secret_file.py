"""A secret in a file, read again when the file changes; it is never logged and never shown by `repr`."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from sidecar.issuer.clock import Clock

Secret = TypeVar("Secret")

_LOOK_EVERY = 1.0
"""Seconds between looks at the file."""
_LARGEST = 64 << 10


class SecretFile(Generic[Secret]):
    """What `parse` makes of the file's bytes. A file that turns bad keeps the last good secret in use."""

    def __init__(self, path: Path, parse: Callable[[bytes], Secret], clock: Clock) -> None:
        """Reads the file at once; raises `OSError`, and `ValueError` as `parse` does."""
        self._path = path
        self._parse = parse
        self._clock = clock
        self._seen: tuple[int, ...] = ()
        self._looked = clock.monotonic()
        self._secret = self._read()

    async def current(self) -> Secret:
        """The secret as it is in the file now, give or take a second."""
        if self._clock.monotonic() - self._looked >= _LOOK_EVERY:
            self._looked = self._clock.monotonic()
            await asyncio.to_thread(self._look)
        return self._secret

    def _look(self) -> None:
        try:
            self._secret = self._read()
        except (OSError, ValueError):
            return

    def _read(self) -> Secret:
        state = os.stat(self._path)  # noqa: PTH116 — follows the links that Kubernetes swaps
        seen = (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)
        if seen == self._seen:
            return self._secret
        with self._path.open("rb") as file:
            secret = self._parse(file.read(_LARGEST))
        self._seen = seen
        return secret
