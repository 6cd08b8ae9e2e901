"""The files with the trusted authorities and our identity towards one issuer; read again when they change."""

import contextlib
import os
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.trust.client_context import ServerTrust, client_context

_LOOK_EVERY = 1.0
"""Seconds between checks of the files."""

_Seen = tuple[tuple[int, ...] | None, ...]


@dataclass(slots=True, eq=False)
class TrustNow:
    """The content of the files."""

    context: ssl.SSLContext
    proxy_headers: Mapping[str, str] | None
    seen: _Seen
    """Their state when they were read."""
    looked: float
    """The monotonic time of reading."""

    @property
    def is_due(self) -> bool:
        """Whether the files should be checked again."""
        return time.monotonic() - self.looked >= _LOOK_EVERY


@dataclass(frozen=True, slots=True)
class TrustFiles:
    """The paths of the files."""

    ca_file: Path | None
    certificate_file: Path | None
    private_key_file: Path | None
    proxy_credentials_file: Path | None
    strict: bool = False
    """As `ServerTrust.strict`."""

    def read(self) -> TrustNow:
        """Raises `OSError` (including `ssl.SSLError`) and `ValueError`. Blocks."""
        seen = self._look()
        trusted = ServerTrust(self.ca_file, self.certificate_file, self.private_key_file, self.strict)
        context = client_context(trusted)
        return TrustNow(context, self._proxy_headers(), seen, time.monotonic())

    def changed_since(self, trust: TrustNow) -> TrustNow:
        """`trust` itself, or the new content if the files have changed and are valid. Blocks."""
        trust.looked = time.monotonic()
        if self._look() == trust.seen:
            return trust
        with contextlib.suppress(
            OSError, ValueError
        ):  # half written: the last valid content is used until the next check
            return self.read()
        return trust

    def _look(self) -> _Seen:
        files = (self.ca_file, self.certificate_file, self.private_key_file, self.proxy_credentials_file)
        return tuple(_state(file) for file in files)

    def _proxy_headers(self) -> Mapping[str, str] | None:
        """RFC 7617 §2."""
        if self.proxy_credentials_file is None:
            return None
        pair = self.proxy_credentials_file.read_bytes().strip()
        return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}


def _state(path: Path | None) -> tuple[int, ...] | None:
    if path is None:
        return None
    try:
        state = os.stat(path)  # noqa: PTH116 — follows the links that Kubernetes replaces
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size
