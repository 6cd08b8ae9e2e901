"""The admin server's token: made at each start, told only through a file that nobody else may read.

The page shows who was refused and why, and takes orders. On loopback every container of a Pod reaches it, and so does
whatever an API can be made to fetch; none of them can read a file of the sidecar's.
"""

import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path

from sidecar.settings.configuration import AdminAddress

_BYTES = 32
"""Bytes of randomness in a token."""
_LONGEST = 1024
"""Bytes of a file that may be one of ours."""


class TokenUnreadable(Exception):
    """No token can be read or made; the message is one line that says why."""


def token_file(admin: AdminAddress) -> Path:
    """Where the token is kept: as configured, else among the temporary files, by port."""
    return admin.token_file or Path(tempfile.gettempdir()) / f"bound-token-sidecar-admin-{admin.port}"


class AdminToken:
    """That of one start."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._value = secrets.token_urlsafe(_BYTES)
        self._is_written = False

    def write(self, owner: tuple[int, int] | None = None) -> None:
        """Make the file, mode 0600, in place of an old one; `owner`: uid and gid. Raises OSError that names it.

        It is always a new file: one that somebody else made, or holds open, never gets the token.
        """
        try:
            self._file.unlink(missing_ok=True)
            handle = os.open(
                self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            with open(handle, "w", encoding="ascii") as file:  # noqa: PTH123 — a descriptor
                os.fchmod(handle, 0o600)
                if owner is not None:
                    os.fchown(handle, *owner)
                file.write(f"{self._value}\n")
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise OSError(
                error.errno,
                f"admin.token_file: cannot write {self._file}: {why}; name a place that can be written",
            ) from None
        self._is_written = True

    def remove(self) -> None:
        """The token is good for nothing any more."""
        if self._is_written:
            try:
                self._file.unlink(missing_ok=True)
            except OSError:
                return  # after root was given up, perhaps: it holds an old token, that is all

    def admits(self, authorization: str) -> bool:
        """Whether this `Authorization` field presents the token (RFC 6750 §2.1)."""
        scheme, _, value = authorization.partition(" ")
        presented = value.strip().encode("utf-8", "surrogateescape")
        return scheme.lower() == "bearer" and hmac.compare_digest(presented, self._value.encode())


def read_token(file: Path) -> str:
    """The token of the sidecar that runs. Raises `TokenUnreadable`.

    A file that belongs to others, or that others may read, is not ours: the link made of it could lead anywhere.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise TokenUnreadable(
            f"{file} does not exist: no sidecar with this configuration runs here"
        ) from None
    except OSError as error:
        raise TokenUnreadable(f"{file} cannot be read: {(error.strerror or '').lower()}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
            raise TokenUnreadable(f"{file} is not a file that its owner alone may read: not the sidecar's")
        if os.geteuid() and found.st_uid != os.geteuid():
            raise TokenUnreadable(f"{file} belongs to another account: run this as the sidecar's")
        value = os.read(handle, _LONGEST).decode("ascii", "replace").strip()
    finally:
        os.close(handle)
    if not value.isascii() or not all(one.isalnum() or one in "-_" for one in value) or not value:
        raise TokenUnreadable(f"{file} holds no token")
    return value
