"""The limits of one exchange: the settings of the service, overridden by those of its rule."""

from dataclasses import dataclass, fields, replace

from sidecar.decision.policy import RuleLimits
from sidecar.proxy.configuration import Limits, UpstreamSettings


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes, times in seconds; 0 means no limit, except for `response_timeout`."""

    body_bytes: int
    response_timeout: float
    stream_timeout: float
    total_timeout: float
    concurrent_requests: int = 0

    def under(self, limits: RuleLimits) -> "Bounds":
        """The same limits, with those that the rule sets replaced."""
        own = {each.name: getattr(limits, each.name) for each in fields(limits)}
        return replace(self, **{name: value for name, value in own.items() if value is not None})


def bounds(limits: Limits, upstream: UpstreamSettings) -> Bounds:
    """The limits of the service."""
    return Bounds(
        limits.body_bytes, upstream.response_timeout, upstream.stream_timeout, upstream.total_timeout
    )
