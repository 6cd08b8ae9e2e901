"""Counters, gauges and histograms as plain numbers; a scrape renders them as text.

Theory of operation. The data plane counts in dicts and lists of this process, without locks, because only one thread
counts. `snapshot()` copies the values, which are sent to a supervisor as JSON; `restored()` converts them back,
`merged()` adds the snapshots of several workers, and `exposition` renders one. Values that others keep (caches,
issuers, files) are read at the scrape through `sources`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from sidecar.telemetry.families import FAMILIES, Family, Kind, Merge

Snapshot = dict[str, list[tuple[list[str], list[float]]]]
"""Metric name → children: label values, and the value; a histogram's value is its sum, then the count of each bucket,
the last for values above all bounds.
"""


class Sample(NamedTuple):
    """One value from a source."""

    name: str
    labels: tuple[str, ...]
    value: float


Source = Callable[[], Iterable[Sample]]


class Histogram:
    """Counts of observations per bucket, and their sum."""

    __slots__ = ("_at", "_last", "bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0
        self._at, self._last = 0, len(self.bounds)
        """The bucket of the latest observation, and the number of the last bucket."""

    def observe(self, value: float) -> None:
        """Count one observation, in the unit of the bounds."""
        bounds, at = self.bounds, self._at
        while at and value <= bounds[at - 1]:  # most values are in the bucket of the one before, or beside it
            at -= 1
        while at < self._last and value > bounds[at]:
            at += 1
        self._at = at
        self.counts[at] += 1
        self.sum += value

    def buckets(self) -> list[tuple[float | None, int]]:
        """The upper bound of each bucket, None for values above all bounds, and its number of observations."""
        return list(zip((*self.bounds, None), self.counts, strict=True))


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.counters: dict[str, dict[tuple[str, ...], float]] = {}
        self.histograms: dict[str, dict[tuple[str, ...], Histogram]] = {}
        self.sources: list[Source] = []

    def counter(self, name: str) -> dict[tuple[str, ...], float]:
        """The children of a counter or gauge, by label values; the caller adds to them."""
        return self.counters.setdefault(_known(name).name, {})

    def increment(self, name: str, *labels: str, by: float = 1) -> None:
        """Add to a counter, or to a gauge."""
        children = self.counter(name)
        children[labels] = children.get(labels, 0) + by

    def set(self, name: str, *labels: str, value: float) -> None:
        """Set a gauge."""
        self.counter(name)[labels] = value

    def histogram(self, name: str, *labels: str) -> Histogram:
        """A histogram, created at the first call."""
        children = self.histograms.setdefault(_known(name).name, {})
        found = children.get(labels)
        if found is None:
            found = children[labels] = Histogram(FAMILIES[name].buckets)
        return found

    def snapshot(self) -> Snapshot:
        """All current values, including those of the sources."""
        taken: Snapshot = {
            name: [(list(labels), [value]) for labels, value in children.items()]
            for name, children in self.counters.items()
        }
        for name, histograms in self.histograms.items():
            taken[name] = [(list(labels), [one.sum, *one.counts]) for labels, one in histograms.items()]
        for source in self.sources:
            for sample in source():
                taken.setdefault(_known(sample.name).name, []).append((list(sample.labels), [sample.value]))
        return taken


def restored(said: object) -> Snapshot:
    """Convert a snapshot from JSON, where a pair is a list.

    Raises `ValueError` for anything that `Metrics.snapshot` would not make: a worker is exposed to the network, and
    its values are added to those of the others.
    """
    match said:
        case dict():
            return {str(name): _restored_children(str(name), children) for name, children in said.items()}
        case _:
            raise ValueError("figures are no object")


def _restored_children(name: str, children: object) -> list[tuple[list[str], list[float]]]:
    family = FAMILIES.get(name)
    if family is None or not isinstance(children, list):
        raise ValueError("figures of no metric")
    expected = len(family.buckets) + 2 if family.buckets else 1
    found: list[tuple[list[str], list[float]]] = []
    for child in children:
        match child:
            case [[*labels], [*values]] if len(labels) == len(family.labels) and len(values) == expected:
                found.append(([_label(one) for one in labels], [_figure(one) for one in values]))
            case _:
                raise ValueError(f"figures of {name} have another shape")
    return found


def _label(said: object) -> str:
    if isinstance(said, str):
        return said
    raise ValueError("a label is no string")


def _figure(said: object) -> float:
    if isinstance(said, int | float) and not isinstance(said, bool):
        return float(said)
    raise ValueError("a figure is no number")


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Merge the snapshots of several workers."""
    children: dict[str, dict[tuple[str, ...], list[float]]] = {}
    for snapshot in snapshots:
        for name, samples in snapshot.items():
            into = children.setdefault(name, {})
            for labels, values in samples:
                key = tuple(labels)
                into[key] = _combined(FAMILIES[name], into[key], values) if key in into else values
    return {name: [(list(key), values) for key, values in found.items()] for name, found in children.items()}


def only_counts(snapshot: Snapshot) -> Snapshot:
    """The part of a snapshot that stays valid after its worker has ended: counters and histograms."""
    return {name: samples for name, samples in snapshot.items() if FAMILIES[name].kind is not Kind.GAUGE}


def total(snapshot: Snapshot, name: str, labels: Mapping[str, str] | None = None) -> float:
    """The sum of a metric's children with these labels."""
    family, wanted = _known(name), labels or {}
    return sum(
        values[0]
        for found, values in snapshot.get(name, ())
        if wanted.items() <= dict(zip(family.labels, found, strict=True)).items()
    )


def _combined(family: Family, left: list[float], right: list[float]) -> list[float]:
    match family.merge:
        case Merge.SUM:
            return [one + other for one, other in zip(left, right, strict=True)]
        case Merge.MAX:
            return [max(left[0], right[0])]
        case Merge.MIN:
            return [min(left[0], right[0])]


def _known(name: str) -> Family:
    return FAMILIES[name]
