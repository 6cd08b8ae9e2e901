"""A secret in a file, read again when the file changes; it is never logged, and `repr` does not show it."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from sidecar.issuer.clock import Clock

Secret = TypeVar("Secret")

_LOOK_EVERY = 1.0
"""Seconds between checks of the file."""
_LARGEST = 64 << 10


class SecretFile(Generic[Secret]):
    """The result of `parse` for the file's bytes. If the file becomes invalid, the last valid secret is used."""

    def __init__(self, path: Path, parse: Callable[[bytes], Secret], clock: Clock) -> None:
        """Reads the file at once. Raises `OSError`, and `ValueError` as `parse` does."""
        self._path = path
        self._parse = parse
        self._clock = clock
        self._seen: tuple[int, ...] = ()
        self._looked = clock.monotonic()
        self._secret = self._read()

    async def current(self) -> Secret:
        """The secret in the file now, at most a second old."""
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
        state = os.stat(self._path)  # noqa: PTH116 — follows the links that Kubernetes replaces
        seen = (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)
        if seen == self._seen:
            return self._secret
        with self._path.open("rb") as file:
            secret = self._parse(file.read(_LARGEST))
        self._seen = seen
        return secret
