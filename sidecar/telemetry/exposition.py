"""A snapshot as Prometheus text. `prometheus_client` is imported at the first scrape, not at start."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from sidecar.telemetry.families import FAMILIES, Family, Kind
from sidecar.telemetry.metrics import Snapshot

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposed(snapshot: Snapshot) -> bytes:
    """The text of all metrics, including those without a value yet, so that an alert can refer to them."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 — half a second saved at start

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(snapshot))
    return generate_latest(registry)


class _Scrape:
    """A `prometheus_client` collector over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> "Iterable[Metric]":
        return ()

    def collect(self) -> "Iterator[Metric]":
        for family in FAMILIES.values():
            yield _metric(family, self._snapshot.get(family.name, []))


def _metric(family: Family, samples: list[tuple[list[str], list[float]]]) -> "Metric":
    from prometheus_client.core import (  # noqa: PLC0415 — see above
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    if not samples and not family.labels:
        samples = [([], [0.0] * (len(family.buckets) + 2 if family.buckets else 1))]
    match family.kind:
        case Kind.COUNTER:
            counter = CounterMetricFamily(family.name, family.help, labels=family.labels)
            for labels, values in samples:
                counter.add_metric(labels, values[0])
            return counter
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
            for labels, values in samples:
                gauge.add_metric(labels, values[0])
            return gauge
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
            bounds = [*(repr(bound) for bound in family.buckets), "+Inf"]
            for labels, (total, *counts) in samples:
                cumulative = zip(bounds, accumulate(counts), strict=True)
                histogram.add_metric(labels, list(cumulative), sum_value=total)
            return histogram
