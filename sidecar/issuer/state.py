"""The last good keys of one issuer in a file, so that a restart during an outage can use them.

The keys are public, but whoever can write the file chooses which keys are trusted. The file is readable and writable
by its owner only, replaced atomically, and read only if nobody else could have written it.
"""

import contextlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sidecar.issuer.http import FetchFailed
from sidecar.issuer.metadata import parse_object

_VERSION = 1
_FUTURE_TOLERANCE = 300.0
"""Seconds by which a file may be newer than now before its age counts as unknown."""
_LARGEST = 1 << 20
_READ_ONLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Do not block if the file is a pipe."""


class StateUnusable(Exception):
    """The file exists and cannot be trusted or read; the message says why."""


@dataclass(frozen=True, slots=True)
class SavedKeys:
    """The content of the file."""

    document: Any
    """A JWK set, to be loaded like a fetched one."""
    age: float
    """Seconds since it was fetched, by the wall clock."""


class StateFile:
    """The file with one issuer's keys. Every method blocks: call it off the event loop."""

    def __init__(self, directory: Path, issuer: str, origin: str) -> None:
        self._path = directory / f"keys-{sha256(issuer.encode()).hexdigest()[:24]}.json"
        self._issuer = issuer
        self._origin = origin

    def save(self, document: object, now: float) -> None:
        """Replace the file atomically; creates its directory. `now` in seconds since the epoch. Raises `OSError`."""
        content = {
            "version": _VERSION,
            "issuer": self._issuer,
            "origin": self._origin,
            "fetched_at": now,
            "jwks": document,
        }
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".keys-")  # mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise

    def load(self, now: float) -> SavedKeys | None:
        """The saved keys, or None if there are none for this issuer and origin. Raises `StateUnusable`."""
        try:
            handle = os.open(self._path, _READ_ONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnusable(f"cannot be opened: {error.strerror}") from error
        try:
            _check_owner(os.fstat(handle))
            body = _read(handle)
        finally:
            os.close(handle)
        return self._parsed(body, now)

    def _parsed(self, body: bytes, now: float) -> SavedKeys | None:
        if len(body) > _LARGEST:
            raise StateUnusable("is too large")
        try:
            content = parse_object(body)
        except FetchFailed:
            raise StateUnusable("is not clean JSON") from None
        if content.get("version") != _VERSION:
            raise StateUnusable("is of another version")
        if (content.get("issuer"), content.get("origin")) != (self._issuer, self._origin):
            return None  # the configuration has changed since: these keys are not valid for it
        fetched_at = content.get("fetched_at")
        if not isinstance(fetched_at, float | int) or isinstance(fetched_at, bool):
            raise StateUnusable("does not say when it was fetched")
        age = now - fetched_at
        if age < -_FUTURE_TOLERANCE:
            raise StateUnusable("comes from the future: its age is unknown")
        return SavedKeys(content.get("jwks"), max(0.0, age))


def _read(handle: int) -> bytes:
    """The whole content, up to one byte more than is allowed."""
    body = bytearray()
    while len(body) <= _LARGEST and (piece := os.read(handle, 65536)):
        body += piece
    return bytes(body)


def _check_owner(state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise StateUnusable("is no regular file")
    if state.st_uid != os.geteuid() or state.st_mode & 0o022:
        raise StateUnusable("could have been written by someone else")
