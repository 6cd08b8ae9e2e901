"""The demo's environment: its folder and its processes, with start and stop."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.demo.grpc_api import METHOD, SERVICE, serve
from sidecar.demo.issuer import AUDIENCE, DemoIssuer
from sidecar.demo.material import make_identity
from sidecar.demo.upstream import DemoFailed
from sidecar.trust.certification import Identity

_START_SECONDS = 60.0

_SERVICE = """\
# The service file of this demo: a real one. Change it, and `kill -HUP` the sidecar.
listeners:
  - address: 127.0.0.1:{port}
    tls: {{certificate_file: tls/server.crt, private_key_file: tls/server.key}}
    client_certificate:
      trust: any              # possession of the key is what counts (RFC 8705 §6.2)
      at_handshake: optional  # so that a missing certificate is answered, not just cut
upstream:
  url: {api}
  identity_headers: {{X-Auth-Subject: sub, X-Auth-Client: client_id}}
protected_resource:
  resource: {audience}
  origins: [{origin}]         # where clients believe the API to be: DPoP proofs are held against it
policy_files: [policy.yaml]
health: {{address: 127.0.0.1:{health}}}
admin: {{address: 127.0.0.1:{admin}, token_file: admin-token}}
logging: {{format: json, access: all}}
"""
_GRPC_SERVICE = """\
# A second sidecar, in front of an API that speaks gRPC.
listeners:
  - address: 127.0.0.1:{port}
    protocols: [h2, http/1.1]
    tls: {{certificate_file: tls/server.crt, private_key_file: tls/server.key}}
    client_certificate: {{trust: any, at_handshake: optional}}
upstream:
  url: {api}
  protocol: h2                # gRPC needs HTTP/2 on both sides
  identity_headers: {{X-Auth-Subject: sub}}
protected_resource: {{resource: {audience}, origins: [{origin}]}}
policy_files: [grpc-policy.yaml]
health: {{address: 127.0.0.1:{health}}}
logging: {{format: json, access: all}}
"""
_AUTHORIZATION_SERVER = """\
authorization_server:         # the demo's API plays one that knows no certificates (RFC 8705 §2)
  issuer: https://as.demo
  endpoints: {token: /token}
  client_files: [clients.yaml]
  hand_over: {header: {format: rfc9440}}
"""
_CLIENTS = """\
clients:
  - {client_id: reporting, method: tls_client_auth, ca_file: tls/authority.crt, subject_dn: CN=client}
"""
_ISSUER = """\
issuers:
  - issuer: {issuer}
    audience: {audience}
    keys: {{discovery: true}}
    http: {{ca_file: tls/authority.crt}}
    algorithms: [ES256]
    schemes: [Bearer, DPoP]   # tokens bound to a certificate (RFC 8705), and tokens bound to a key (RFC 9449)
    binding: required
rules:
"""
_RULES = """\
  - name: health
    match: {methods: [GET], path: /healthz}
    public: true
  - name: payments
    match: {path: /payments/**}
    require: {scopes: [payments:write]}
  - name: accounts
    match: {path: /**}
    require: {scopes: [accounts:read]}
"""
_RULES_OF_ANY_API = """\
  - name: everything        # add rules of your own above: the first that fits decides
    match: {path: /**}
    # require: {scopes: [accounts:read]}
"""
_GRPC_RULES = f"""\
  - name: owner
    match: {{grpc: {{service: {SERVICE}, method: {METHOD}}}}}
    require: {{scopes: [accounts:read]}}
"""


def _end_of(log: Path) -> str:
    return log.read_text()[-2000:]


def free_port() -> int:
    """A loopback port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class World:
    """All processes. Call `stop` after `start`."""

    folder: Path
    upstream: str | None = None
    """The URL of an existing API; None: the demo's own is started."""
    port: int = field(default_factory=free_port)
    issuer_port: int = 0
    """0: a free one."""
    health_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    grpc_port: int = 0
    """The port of the sidecar in front of the gRPC API; 0: there is none, as `upstream` is set."""
    authority: Identity = field(init=False)
    rightful: Identity = field(init=False)
    thief: Identity = field(init=False)
    self_signed: Identity = field(init=False)
    issuer: DemoIssuer = field(init=False)
    grpc_ready: asyncio.Task[None] | None = field(default=None, init=False)
    """Done when that sidecar is ready: it starts while other scenarios run. Raises `DemoFailed`."""
    grpc: asyncio.Server | None = field(default=None, init=False)
    processes: list[Process] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """The URL of the sidecar for clients."""
        return f"https://localhost:{self.port}"

    async def start(self) -> None:
        """Generate the keys, write the configuration, start issuer, API and sidecar. Raises `DemoFailed`."""
        tls = self.folder / "tls"
        tls.mkdir(parents=True, exist_ok=True)
        self.authority = make_identity(tls, "authority", is_authority=True)
        issuers = make_identity(tls, "server", self.authority)
        self.rightful = make_identity(tls, "client", self.authority)
        self.thief = make_identity(tls, "thief", self.authority)
        self.self_signed = make_identity(tls, "self-signed")
        issuer = await self._start_issuer(issuers)
        api = self.upstream or await self._start_api()
        server = ""
        if self.upstream is None:
            (self.folder / "clients.yaml").write_text(_CLIENTS)
            server = _AUTHORIZATION_SERVER
        (self.folder / "sidecar.yaml").write_text(
            _SERVICE.format(
                port=self.port,
                api=api,
                health=self.health_port,
                admin=self.admin_port,
                audience=AUDIENCE,
                origin=self.origin,
            )
            + server
        )
        rules = _RULES if self.upstream is None else _RULES_OF_ANY_API
        (self.folder / "policy.yaml").write_text(_ISSUER.format(issuer=issuer, audience=AUDIENCE) + rules)
        await self._start_sidecar("sidecar.yaml", self.log, self.health_port)
        if self.upstream is None:
            await self._begin_grpc(issuer)

    async def _begin_grpc(self, issuer: str) -> None:
        """Start a gRPC API, and begin to start a sidecar for it."""
        self.grpc = await serve()
        self.grpc_port, health = free_port(), free_port()
        (self.folder / "grpc.yaml").write_text(
            _GRPC_SERVICE.format(
                port=self.grpc_port,
                api=f"http://127.0.0.1:{self.grpc.sockets[0].getsockname()[1]}",
                health=health,
                audience=AUDIENCE,
                origin=f"https://localhost:{self.grpc_port}",
            )
        )
        rules = _ISSUER.format(issuer=issuer, audience=AUDIENCE) + _GRPC_RULES
        (self.folder / "grpc-policy.yaml").write_text(rules)
        starting = self._start_sidecar("grpc.yaml", self.folder / "grpc-access.log", health)
        self.grpc_ready = asyncio.create_task(starting)

    async def _start_issuer(self, server: Identity) -> str:
        self.issuer = DemoIssuer(server, self.authority, self.issuer_port)
        try:
            await self.issuer.start()
        except OSError as error:
            problem = (
                f"port {self.issuer_port} cannot be the issuer's: {(error.strerror or str(error)).lower()}"
            )
            raise DemoFailed(f"{problem}: leave out --issuer-port, or give another one") from error
        return self.issuer.url

    async def _start_api(self) -> str:
        api = await self._spawn("-m", "sidecar.demo.api")
        assert api.stdout is not None  # noqa: S101 — requested as a pipe
        return f"http://127.0.0.1:{int(await asyncio.wait_for(api.stdout.readline(), _START_SECONDS))}"

    async def _spawn(self, *arguments: str, log: Path | None = None) -> Process:
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

    async def _start_sidecar(self, service: str, log: Path, health_port: int) -> None:
        process = await self._spawn("-m", "sidecar", "run", "--config", str(self.folder / service), log=log)
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while not await self._is_ready(health_port):
            if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise DemoFailed(f"the sidecar did not become ready:\n{_end_of(log)}")
            await asyncio.sleep(0.05)

    async def _is_ready(self, health_port: int) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", health_port)
        except OSError:
            return False
        writer.write(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        line = await reader.readline()
        writer.close()
        return b" 200 " in line

    async def stop(self) -> None:
        """Stop all processes in order."""
        if self.grpc_ready is not None:
            self.grpc_ready.cancel()
            await asyncio.wait([self.grpc_ready])
        for process in reversed(self.processes):
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 5)
                except TimeoutError:
                    process.kill()
                    await process.wait()
        if self.grpc is not None:
            self.grpc.close()
        if hasattr(self, "issuer"):
            await self.issuer.stop()
