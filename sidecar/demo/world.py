"""The demo's world: its folder, its processes, and how they are started and stopped."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.demo.issuer import AUDIENCE, DemoIssuer
from sidecar.demo.material import Identity, make_identity

_START_SECONDS = 15.0

_SERVICE = """\
# The service file of this demo: a real one. Change it, and `kill -HUP` the sidecar.
listeners:
  - address: 127.0.0.1:{port}
    tls: {{certificate_file: tls/server.crt, private_key_file: tls/server.key}}
    client_certificate:
      trust: any              # possession of the key is what counts (RFC 8705 §6.2)
      at_handshake: optional  # so that a missing certificate is answered, not just cut
upstream:
  url: http://127.0.0.1:{api}
  identity_headers: {{X-Auth-Subject: sub, X-Auth-Client: client_id}}
policy_files: [policy.yaml]
health: {{address: 127.0.0.1:{health}}}
admin: {{address: 127.0.0.1:{admin}, token_file: admin-token}}
logging: {{format: json, access: all}}
"""
_POLICY = """\
issuers:
  - issuer: {issuer}
    audience: {audience}
    keys: {{discovery: true}}
    http: {{ca_file: tls/authority.crt}}
    algorithms: [ES256]
    binding: required
rules:
  - name: health
    match: {{methods: [GET], path: /healthz}}
    public: true
  - name: payments
    match: {{path: /payments/**}}
    require: {{scopes: [payments:write]}}
  - name: accounts
    match: {{path: /**}}
    require: {{scopes: [accounts:read]}}
"""


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DemoFailed(Exception):
    """A part of the demo did not start; says which, and what it said."""


@dataclass(slots=True)
class World:
    """Everything that runs. `start` and `stop` belong together."""

    folder: Path
    port: int = field(default_factory=free_port)
    health_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    authority: Identity = field(init=False)
    rightful: Identity = field(init=False)
    thief: Identity = field(init=False)
    self_signed: Identity = field(init=False)
    issuer: DemoIssuer = field(init=False)
    processes: list[Process] = field(default_factory=list)

    async def start(self) -> None:
        """Make the keys, write the configuration, start issuer, API and sidecar. Raises `DemoFailed`."""
        tls = self.folder / "tls"
        tls.mkdir(parents=True, exist_ok=True)
        self.authority = make_identity(tls, "authority", is_authority=True)
        server = make_identity(tls, "server", self.authority)
        self.rightful = make_identity(tls, "client", self.authority)
        self.thief = make_identity(tls, "thief", self.authority)
        self.self_signed = make_identity(tls, "self-signed")
        self.issuer = DemoIssuer(server)
        await self.issuer.start()
        api = await self._spawn("the API", "-m", "sidecar.demo.api")
        assert api.stdout is not None  # noqa: S101 — asked for
        api_port = int(await asyncio.wait_for(api.stdout.readline(), _START_SECONDS))
        (self.folder / "sidecar.yaml").write_text(
            _SERVICE.format(port=self.port, api=api_port, health=self.health_port, admin=self.admin_port)
        )
        (self.folder / "policy.yaml").write_text(_POLICY.format(issuer=self.issuer.url, audience=AUDIENCE))
        await self._start_sidecar()

    async def _spawn(self, _what: str, *arguments: str, log: Path | None = None) -> Process:
        output = PIPE if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=output, stderr=None if log is None else output
            )
        finally:
            if log is not None:
                os.close(output)
        self.processes.append(process)
        return process

    @property
    def log(self) -> Path:
        """The sidecar's audit records."""
        return self.folder / "access.log"

    async def _start_sidecar(self) -> None:
        config = str(self.folder / "sidecar.yaml")
        process = await self._spawn("the sidecar", "-m", "sidecar", "run", "--config", config, log=self.log)
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while not await self._is_ready():
            if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise DemoFailed(f"the sidecar did not become ready:\n{self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)

    async def _is_ready(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.health_port)
        except OSError:
            return False
        writer.write(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        line = await reader.readline()
        writer.close()
        return b" 200 " in line

    async def stop(self) -> None:
        """Stop what was started, in good order."""
        for process in reversed(self.processes):
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 5)
                except TimeoutError:
                    process.kill()
                    await process.wait()
        await self.issuer.stop()
