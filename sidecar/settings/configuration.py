"""A whole configuration as frozen values: what `load` gives and the process runs on.

Rules of this file: it imports nothing that reads or validates (no YAML, no pydantic), so that a process may hold a
configuration that another one has read.
"""

from dataclasses import dataclass, field
from pathlib import Path

from sidecar.decision.nonce import Nonces
from sidecar.decision.origin import Origin
from sidecar.decision.policy import Policy
from sidecar.decision.resource_metadata import ResourceMetadata, resource_metadata
from sidecar.issuer.configuration import IssuersSettings
from sidecar.proxy.authorization_server.configuration import AuthorizationServerSettings
from sidecar.proxy.configuration import ProxySettings
from sidecar.settings.nonce_file import nonces_in
from sidecar.settings.problem import Problem
from sidecar.telemetry.configuration import LoggingSettings, TracingSettings


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where one of the process's own servers listens."""

    host: str
    """Empty for a Unix socket."""
    port: int
    """0: a free one; also 0 for a Unix socket."""
    path: str = ""
    """The path of a Unix socket."""


@dataclass(frozen=True, slots=True)
class AdminAddress(ServerAddress):
    """Where the admin server listens, and where its token is kept."""

    token_file: Path | None = None
    """None: among the temporary files. A Unix socket asks for the account and has no token."""


@dataclass(frozen=True, slots=True)
class HardeningSettings:
    """Protections of the process."""

    run_as: str | None = None
    """`user` or `user:group`, names or numbers, taken when started as root."""
    open_files: int | None = None
    """Soft limit of open files; None: the hard limit."""


@dataclass(frozen=True, slots=True)
class BypassSettings:
    """Whether the protected resource answers past the sidecar."""

    enabled: bool = True
    interval: float = 60.0
    """Seconds."""
    refuse_when_bypassable: bool = False
    """Not ready while it does."""


@dataclass(frozen=True, slots=True)
class ProtectedResourceSettings:
    """Metadata of the protected resource (RFC 9728)."""

    resource: str
    serve: bool = True
    origins: tuple[Origin, ...] = ()
    """From where clients reach it."""


@dataclass(frozen=True, slots=True)
class DpopSettings:
    """What the whole deployment shares for DPoP (RFC 9449)."""

    nonce_key_file: Path | None = None
    replay_url_file: Path | None = None
    """Where used proofs are remembered for all processes: a URL of the Redis protocol; None: in this process alone."""
    replay_ca_file: Path | None = None
    accepts_when_unreachable: bool = False


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What the process is told beyond the data plane."""

    health: ServerAddress | None = None
    """None: no health server."""
    grpc_services: tuple[str, ...] = ()
    """Services of the API that the health server may ask for by gRPC's health check."""
    admin: AdminAddress | None = None
    """None: no admin server. Always loopback or a Unix socket."""
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    workers: int = 1
    """Number of serving processes; 0: one per CPU."""
    state_directory: Path | None = None
    hardening: HardeningSettings = field(default_factory=HardeningSettings)
    bypass: BypassSettings = BypassSettings()
    protected_resource: ProtectedResourceSettings | None = None
    dpop: DpopSettings = DpopSettings()
    watch_files: bool = True
    """Reload when a file changes."""
    watch_interval: float = 1.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that is good as a whole."""

    proxy: ProxySettings
    service: ServiceSettings
    issuers: IssuersSettings
    policy: Policy
    files: tuple[Path, ...]
    """Every file that was read, the service file first: a change of one is a change of the configuration."""
    policy_patterns: tuple[str, ...] = ()
    """`policy_files` and `client_files`, made absolute: a file that begins or ceases to match is a change too."""
    read_since: int | None = field(default=None, compare=False)
    """When its reading began, in nanoseconds since the epoch, by the clock that the kernel dates changes of files with;
    None where nobody watches them.
    """
    authorization_server: AuthorizationServerSettings | None = None
    """None: there is none behind the sidecar, or it looks after its clients itself."""
    client_cache: bytes = b""
    """What is known of files of clients, pickled: for the next reading alone, which need not read them again."""
    warnings: tuple[Problem, ...] = ()
    """Doubtful, but usable."""
    dangers: tuple[Problem, ...] = ()
    """Settings that switch a protection off: to be logged at each start."""

    def nonces(self) -> Nonces | None:
        """Made under the keys that the file holds now; None where there is none. Raises `OSError`, `ValueError`."""
        path = self.service.dpop.nonce_key_file
        return None if path is None else nonces_in(path)

    @property
    def metadata(self) -> ResourceMetadata | None:
        """What is said of the protected resource (RFC 9728)."""
        resource = self.service.protected_resource
        return resource_metadata(resource.resource, self.policy) if resource is not None else None

    @property
    def documents(self) -> dict[str, bytes]:
        """Path → JSON that the sidecar itself serves there."""
        resource, metadata = self.service.protected_resource, self.metadata
        return {metadata.path: metadata.document} if metadata and resource and resource.serve else {}
