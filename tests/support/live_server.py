"""The data plane on real sockets, on a thread of its own, with a double deciding."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import uvloop

from sidecar.proxy.configuration import (
    Limits,
    ListenerSettings,
    ProxySettings,
    Timeouts,
    TlsSettings,
    UpstreamSettings,
)
from sidecar.proxy.exchange.snapshot import Authorizes
from sidecar.proxy.server import Server
from tests.support.deciding import Gate, Observed
from tests.support.pki import Identity, Pki, certificate_pem
from tests.support.processes import eventually

T = TypeVar("T")
NOWHERE = UpstreamSettings("http", "127.0.0.1", 9)


def tls_settings(folder: Path, pki: Pki, **changes: object) -> TlsSettings:
    """TLS with the server certificate of `pki`; `ca_file` is there for `trust: ca`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = pki.server.write(folder, "server")
    authority = folder / "client-ca.crt"
    authority.write_bytes(certificate_pem(pki.client_authority.certificate))
    given = TlsSettings(files.certificate, files.private_key, ca_file=authority)
    return replace(given, **changes)  # type: ignore[arg-type]  # the names are checked by replace


class LiveServer:
    """A context manager; all its methods may be called from the test's thread."""

    def __init__(
        self,
        *tls: TlsSettings,
        upstream: UpstreamSettings = NOWHERE,
        limits: Limits = Limits(),  # noqa: B008 — immutable
        timeouts: Timeouts = Timeouts(),  # noqa: B008 — immutable
        decides: Authorizes | None = None,
    ) -> None:
        """Has a listener for each of `tls`."""
        listeners = tuple(
            ListenerSettings(f"listener-{index}", "127.0.0.1", 0, each) for index, each in enumerate(tls)
        )
        self.settings = ProxySettings(listeners, upstream, limits, timeouts)
        self.gate = Gate()
        self.observed = Observed()
        self.wall_offset = 0.0
        """Seconds that the server's clock is ahead."""
        self._decides = decides or self.gate
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="data plane")

    def __enter__(self) -> Self:
        self._thread.start()
        self.server = self.call(self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call(self._stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _start(self) -> Server:
        return Server(
            self.settings, self._decides, self.observed, clock=lambda: time.time() + self.wall_offset
        )

    def _stop(self) -> None:
        self.server.close()

    def call(self, function: Callable[[], T]) -> T:
        """Run something on the server's loop."""

        async def run() -> T:
            result = function()
            if isinstance(result, Server):
                await result.start()
            return result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(20)

    def reload(self, *tls: TlsSettings, decides: Authorizes | None = None) -> None:
        """Serve under other TLS settings from the next handshake on."""
        listeners: Sequence[ListenerSettings] = [
            replace(listener, tls=each) for listener, each in zip(self.settings.listeners, tls, strict=True)
        ]
        settings = replace(self.settings, listeners=tuple(listeners))
        self.call(lambda: self.server.replace(settings, decides or self._decides, generation=2))

    def port(self, index: int = 0) -> int:
        return self.server.listeners[index].port

    def thumbprints(self) -> list[bytes | None]:
        """The thumbprint of the client certificate of each request, as the decision saw it; None without one."""
        certificates = [presenter.client_certificate for presenter in self.gate.presenters]
        return [certificate.thumbprint if certificate else None for certificate in certificates]

    def handshakes(self, count: int) -> list[tuple[str, str]]:
        """The results and reasons of the first handshakes, waited for."""
        eventually(lambda: len(self.observed.handshakes) >= count, what=f"{count} handshakes")
        return self.observed.handshakes


def digest(identity: Identity) -> bytes:
    """The thumbprint as 32 bytes (RFC 8705 §3.1)."""
    return hashlib.sha256(identity.der).digest()
