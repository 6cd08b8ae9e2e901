"""What telemetry must be told. `settings/` fills these; every value here is already checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType


class Format(Enum):
    """How a line of the log looks."""

    AUTO = "auto"
    """`text` on a terminal, `json` anywhere else."""
    JSON = "json"
    TEXT = "text"


class Access(Enum):
    """Which requests get a line of their own. Metrics count every one of them all the same."""

    ALL = "all"
    DENIED = "denied"
    """Refused, failed, or passed only because the policy reports instead of enforcing."""
    SAMPLED = "sampled"
    """What `denied` logs, and one permitted request in `sample`."""


class Audit(Enum):
    """What happens to a request whose line has no place in the buffer."""

    BEST_EFFORT = "best_effort"
    """It is served; the line is dropped and counted."""
    REQUIRED = "required"
    """It is not forwarded: 503. Its place is reserved before anything goes to the upstream."""


class Level(Enum):
    """The lowest severity of lines about the process. Access lines do not depend on it."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class LoggingSettings:
    """Where lines go and what they look like."""

    format: Format = Format.AUTO
    access: Access = Access.ALL
    audit: Audit = Audit.BEST_EFFORT
    """`REQUIRED` goes with `Access.ALL` alone."""
    level: Level = Level.INFO
    sample: int = 100
    """With `access: sampled`, one in this many permitted requests gets a line."""
    file: Path | None = None
    """None: standard output. A file is opened again on SIGHUP."""
    buffered_bytes: int = 4 * 1024 * 1024
    """Lines wait here for a slow reader; past it they are dropped and counted."""


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where spans go. Off unless an endpoint is named."""

    endpoint: str | None = None
    """OTLP over HTTP, e.g. `http://127.0.0.1:4318`; needs the extra `[otel]`."""
    service_name: str = "bound-token-sidecar"
    sample_ratio: float = 1.0
    """Share of the traces begun here that are recorded; a trace begun by the caller keeps the caller's choice."""
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Resource attributes added to every span."""
