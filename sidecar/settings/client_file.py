"""One file of clients as it was read: enough to know it again, and to use it without reading it again.

Rules of this file: nothing here refers to the document, so that it can be handed from one process to the next.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.decision.registered_client.name import NameKind
from sidecar.proxy.authorization_server.configuration import ClientSettings
from sidecar.settings import document as documents
from sidecar.settings.document import Document
from sidecar.settings.problem import Problem

_DOUBTED = ("translate", "ca_file", "crl_file")
"""Keys of a client that warnings are about."""
_Place = tuple[int, int]
_Look = tuple[int, int, int, int] | None


class Registered(NamedTuple):
    """What is remembered of the certificates that are registered of one client."""

    files: tuple[Path, ...] = ()
    """PEM."""
    key_set: Path | None = None
    """A JWK set."""
    names: frozenset[tuple[NameKind, object]] = frozenset()
    """Every name that one of them has (`registered_client.name.names_of`)."""
    validity: tuple[tuple[float, float], ...] = ()
    """From when to when each of them is valid, seconds since the epoch."""


NONE_REGISTERED: Final = Registered()


class PlacedClient:
    """One valid client, and where it stands."""

    __slots__ = ("_file", "_places", "registered", "settings")

    def __init__(
        self,
        settings: ClientSettings,
        registered: Registered,
        document: Document,
        path: tuple[str | int, ...],
        named: Iterable[str],
    ) -> None:
        """`named` are the keys that it has."""
        self.settings = settings
        self.registered = registered
        self._file = document.file
        own = document.position(path, at_key=True)
        self._places: dict[str, _Place] = {"": own}
        for key in _DOUBTED:
            if key in named:
                self._places[key] = document.position((*path, key), at_key=True)

    def warning(self, message: str, key: str = "") -> Problem:
        """A warning at a key of the client, or at all of it."""
        line, column = self._places.get(key, self._places[""])
        return Problem(self._file, line, column, message, is_warning=True)


@dataclass(slots=True)
class ReadFile:
    """What one file says."""

    path: Path
    digest: bytes
    """SHA-256 of the file; empty when it cannot be read."""
    clients: list[PlacedClient] = field(default_factory=list)
    names: list[tuple[str, str, _Place]] = field(default_factory=list)
    """Each `client_id` that is named, valid or not: where its client stands, and line and column of its own."""
    beside: list[tuple[Path, _Look]] = field(default_factory=list)
    """Files that it names, as they were seen."""
    warnings: list[Problem] = field(default_factory=list)
    dangers: list[Problem] = field(default_factory=list)
    is_writable_by_everyone: bool = False
    _seen: set[Path] = field(default_factory=set)

    @property
    def file(self) -> str:
        """Its name, for problems."""
        return str(self.path)

    def looks_at(self, file: Path) -> None:
        """The file is looked into for a client."""
        if file not in self._seen:
            self._seen.add(file)
            self.beside.append((file, _look(file)))

    def is_as_it_was(self) -> bool:
        """Whether nothing has changed since, neither the file nor what it names."""
        return (
            bool(self.digest)
            and self.digest == digest_of(self.path)
            and self.is_writable_by_everyone == _is_writable_by_everyone(self.path)
            and all(_look(file) == seen for file, seen in self.beside)
        )


def digest_of(path: Path) -> bytes:
    """SHA-256 of a file; empty when it cannot be read, or is none."""
    if documents.environment_variable(path) is not None:
        return b""
    try:
        return sha256(path.read_bytes()).digest()
    except (OSError, ValueError):
        return b""


def _look(file: Path) -> _Look:
    """By what it is known that a file is another: as for the watch, its times and size; and who may read it."""
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


def _is_writable_by_everyone(path: Path) -> bool:
    found = _look(path)
    return found is not None and bool(found[3] & 0o002)
