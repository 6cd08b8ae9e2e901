"""The section of a rule that limits its exchanges, and the limits of the service that a rule cannot set."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Self

from pydantic import AfterValidator, model_validator

from sidecar.settings.scalars import Duration, Size
from sidecar.settings.section import Section, mistake
from sidecar.settings.service_sections import LimitsSection, Positive, TimeoutsSection

_OURS: Final = frozenset({"body_bytes", "response_timeout", "stream_timeout", "total_timeout"})
"""The limits that have the same name in a rule and in the service file."""
_OF_THE_HEAD: Final = frozenset(
    {"target_bytes", "header_bytes", "headers", "token_bytes", "handshake", "request_head"}
)
_OF_THE_POOL: Final = ("connect_timeout", "max_connections", "max_waiting", "resolve_interval")


def _of_the_service(section: str, keys: Iterable[str]) -> dict[str, str]:
    """The message for each key of the service file that cannot be set in a rule."""
    early = f"counts before the rule is known: it bounds every request, under `{section}` in the service file"
    shared = f"bounds the whole service, not a rule: it is set under `{section}` in the service file"
    return {key: early if key in _OF_THE_HEAD else shared for key in keys if key not in _OURS}


_SILENCE: Final = (
    "is the time that an unused connection to the upstream is kept, under `upstream` in the service file;"
    " the time that a body or a tunnel may be silent is `stream_timeout`"
)


def _some_time(seconds: float) -> float:
    """A deadline that has passed before it begins answers every request with 504; raises `ValueError`."""
    if seconds <= 0:
        raise ValueError("must be more than 0s")
    return seconds


class RuleLimitsSection(Section):
    """Limits for this rule only, instead of the service's."""

    elsewhere: ClassVar[Mapping[str, str]] = MappingProxyType(
        _of_the_service("limits", LimitsSection.model_fields)
        | _of_the_service("timeouts", TimeoutsSection.model_fields)
        | _of_the_service("upstream", _OF_THE_POOL)
        | {"idle_timeout": _SILENCE}
    )

    body_bytes: Size | None = None
    """Length of a request body; past it 413; 0: none. Default: `limits.body_bytes` of the service."""
    response_timeout: Annotated[Duration, AfterValidator(_some_time)] | None = None
    """Time from the end of the request to the head of the response; past it 504. Default: that of `upstream`."""
    stream_timeout: Duration | None = None
    """Time without a byte in either direction of a body or a tunnel; 0s: none. Default: that of `upstream`."""
    total_timeout: Duration | None = None
    """Time for a whole exchange, not for a tunnel; 0s: none. Default: that of `upstream`."""
    concurrent_requests: Positive | None = None
    """Requests in progress at a time, in each worker; past it 503. Default: none."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise mistake("limits nothing: leave it out, or add a limit")
        if self.total_timeout and (self.response_timeout or 0) > self.total_timeout:
            raise mistake("is never reached: `total_timeout` is shorter", "response_timeout")
        return self
