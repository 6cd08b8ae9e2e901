"""Warnings about limits of rules that have no effect, or another effect, because of the service's settings."""

from collections.abc import Iterator, Sequence

from sidecar.proxy.configuration import UpstreamSettings
from sidecar.settings.problem import Problem
from sidecar.settings.review import PlacedRule


def review_limits(rules: Sequence[PlacedRule], upstream: UpstreamSettings, workers: int) -> Iterator[Problem]:
    """Warnings, in the order of the policy. `workers` is the number of serving processes, 0: one per CPU."""
    for placed in rules:
        limits = placed.rule.limits
        if limits is None:
            continue
        if limits.concurrent_requests and workers != 1:
            several = "`workers: auto`" if workers == 0 else f"`workers: {workers}`"
            most = (
                f"that many times {limits.concurrent_requests}"
                if workers == 0
                else str(workers * limits.concurrent_requests)
            )
            message = f"counts in each worker: with {several} the upstream may get {most} at a time"
            yield placed.warning(message, "limits", "concurrent_requests")
        total = upstream.total_timeout
        if limits.total_timeout is None and total and (limits.response_timeout or 0) > total:
            message = (
                f"is never reached: the service's `total_timeout` of {total:g}s is shorter; set one here too"
            )
            yield placed.warning(message, "limits", "response_timeout")
