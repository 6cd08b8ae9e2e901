"""What the service file says, as frozen values: the data plane's part and the process's."""

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from sidecar.proxy.configuration import (
    AtHandshake,
    Limits,
    ListenerSettings,
    ProxySettings,
    Timeouts,
    TlsSettings,
    Trust,
    UpstreamSettings,
    UpstreamTlsSettings,
)
from sidecar.settings.operation_sections import Logging, ServiceFile, Tracing
from sidecar.settings.section import Section
from sidecar.settings.service_sections import Listener, Upstream
from sidecar.telemetry.configuration import Access, Format, Level, LoggingSettings, TracingSettings


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where one of the process's own servers listens."""

    host: str
    """Empty for a Unix socket."""
    port: int
    """0: a free one; also 0 for a Unix socket."""
    path: str = ""
    """Of a Unix socket."""


@dataclass(frozen=True, slots=True)
class HardeningSettings:
    """What the Unix process does for its own safety."""

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


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What the process is told beyond the data plane."""

    health: ServerAddress | None = None
    """None: no health server."""
    admin: ServerAddress | None = None
    """None: no admin server. Always loopback or a Unix socket."""
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    workers: int = 1
    """Number of serving processes; 0: one per CPU."""
    state_directory: Path | None = None
    hardening: HardeningSettings = field(default_factory=HardeningSettings)
    bypass: BypassSettings = BypassSettings()
    protected_resource: ProtectedResourceSettings | None = None
    watch_files: bool = True
    """Reload when a file changes."""
    watch_interval: float = 1.0
    """Seconds."""


def proxy_settings(file: ServiceFile) -> ProxySettings:
    """The data plane's part."""
    given: dict[str, Any] = {
        name: getattr(file, name) for name in ("realm", "disclose_reasons") if getattr(file, name) is not None
    }
    return ProxySettings(
        listeners=tuple(_listener(one) for one in file.listeners),
        upstream=_upstream(file.upstream),
        limits=Limits(**file.limits.given()),
        timeouts=Timeouts(**file.timeouts.given()),
        keep_headers_with_underscores=file.insecure_keep_headers_with_underscores,
        **given,
    )


def service_settings(file: ServiceFile) -> ServiceSettings:
    """The process's part."""
    process = file.process.given()
    watch = {name: process.pop(name) for name in ("watch_files", "watch_interval") if name in process}
    return ServiceSettings(
        health=ServerAddress(*file.health.address) if file.health else None,
        admin=_admin(*file.admin.address) if file.admin else None,
        logging=_logging(file.logging),
        tracing=_tracing(file.tracing),
        workers=0 if file.workers == "auto" else file.workers or 1,
        state_directory=file.state_directory,
        hardening=HardeningSettings(**process),
        bypass=BypassSettings(**file.bypass_check.given()),
        protected_resource=_made(ProtectedResourceSettings, file.protected_resource),
        **watch,
    )


def _made(kind: type[ProtectedResourceSettings], section: Section | None) -> ProtectedResourceSettings | None:
    return None if section is None else kind(**section.given())


def _admin(host: str, port: int | str) -> ServerAddress:
    return ServerAddress("", 0, str(port)) if isinstance(port, str) else ServerAddress(host, port)


def _logging(section: Logging) -> LoggingSettings:
    enums = {"format": Format, "access": Access, "level": Level}
    given: dict[str, Any] = {
        name: enums[name](value) if name in enums else value for name, value in section.given().items()
    }
    return LoggingSettings(**given)


def _tracing(section: Tracing | None) -> TracingSettings:
    if section is None:
        return TracingSettings()
    given = section.given()
    if "attributes" in given:
        given["attributes"] = MappingProxyType(given["attributes"])
    return TracingSettings(**given)


def _listener(section: Listener) -> ListenerSettings:
    host, port = section.address
    tls = section.tls.given() | section.client_certificate.given()
    tls.pop("insecure_private_key_readable_by_everyone", None)
    if "trust" in tls:
        tls["trust"] = Trust(tls["trust"])
    if "at_handshake" in tls:
        tls["at_handshake"] = AtHandshake(tls["at_handshake"])
    return ListenerSettings(
        name=section.name or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"),
        host=host,
        port=port,
        tls=TlsSettings(**tls),
        proxy_protocol_from=tuple(section.proxy_protocol_from),
        forwarded_from=tuple(section.forwarded_from),
    )


def _upstream(section: Upstream) -> UpstreamSettings:
    given = section.given()
    url = urlsplit(given.pop("url"))
    tls = given.pop("tls", None)
    tls_given = {} if tls is None else tls.given()
    tls_given.pop("insecure_private_key_readable_by_everyone", None)
    if "identity_headers" in given:
        given["identity_headers"] = MappingProxyType(given["identity_headers"])
    return UpstreamSettings(
        scheme=url.scheme,
        host=url.hostname or "",
        port=0 if url.scheme == "unix" else url.port or {"http": 80, "https": 443}[url.scheme],
        path=url.path if url.scheme == "unix" else "",
        tls=UpstreamTlsSettings(**tls_given),
        **given,
    )
