"""What bounds one exchange once its rule is known: the service's settings, and what a rule says in their place."""

from dataclasses import dataclass, fields, replace

from sidecar.decision.policy import RuleLimits
from sidecar.proxy.configuration import Limits, UpstreamSettings


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes, times in seconds; 0: none, but for `response_timeout`."""

    body_bytes: int
    response_timeout: float
    stream_timeout: float
    total_timeout: float
    concurrent_requests: int = 0

    def under(self, limits: RuleLimits) -> "Bounds":
        """The same, but for what a rule says of its own."""
        own = {each.name: getattr(limits, each.name) for each in fields(limits)}
        return replace(self, **{name: value for name, value in own.items() if value is not None})


def bounds(limits: Limits, upstream: UpstreamSettings) -> Bounds:
    """Those of the service."""
    return Bounds(
        limits.body_bytes, upstream.response_timeout, upstream.stream_timeout, upstream.total_timeout
    )
