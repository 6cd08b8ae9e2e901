"""Settings of telemetry. `settings/` makes them and checks every value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType


class Format(Enum):
    """The format of log lines."""

    AUTO = "auto"
    """`text` on a terminal, `json` anywhere else."""
    JSON = "json"
    TEXT = "text"


class Access(Enum):
    """Which requests get a log line. Metrics count all requests in any case."""

    ALL = "all"
    DENIED = "denied"
    """Refused, failed, or passed only because the policy reports instead of enforcing."""
    SAMPLED = "sampled"
    """As `denied`, and one in `sample` permitted requests."""


class Audit(Enum):
    """What happens to a request if the buffer has no place for its line."""

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
    """Destination and format of log lines."""

    format: Format = Format.AUTO
    access: Access = Access.ALL
    audit: Audit = Audit.BEST_EFFORT
    """`REQUIRED` needs `Access.ALL`."""
    level: Level = Level.INFO
    sample: int = 100
    """With `access: sampled`, one in this many permitted requests gets a line."""
    file: Path | None = None
    """None: standard output. A file is opened again on SIGHUP."""
    buffered_bytes: int = 4 * 1024 * 1024
    """Size of the buffer for a slow reader; above it, lines are dropped and counted."""


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Destination of spans. Off unless an endpoint is set."""

    endpoint: str | None = None
    """OTLP over HTTP, e.g. `http://127.0.0.1:4318`; needs the extra `[otel]`."""
    service_name: str = "bound-token-sidecar"
    sample_ratio: float = 1.0
    """Share of the traces that begin here which are recorded; a caller's trace keeps the caller's decision."""
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Resource attributes added to every span."""
