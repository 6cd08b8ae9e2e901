"""The table and the two JSON documents of a run. Pure: samples in, text and plain data out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median

from bench.sample import Figures, Sample, medians
from bench.statistic import ratio, spread

OURS = "sidecar"
API = "api"  # no peer: the API alone, without a proxy and without TLS
_HEAD = ("load", "peer", "CPU µs/request", "±", "sidecar is", "requests/s", "p50 ms", "p99 ms", "resident MB")

_NUMBER = re.compile(r"([+-]?\d+(\.\d+)?( [%×])?)?")

Results = Mapping[str, Mapping[str, Sequence[Sample]]]


def figures(results: Results) -> dict[str, dict[str, Figures]]:
    """`build/bench.json`: load → peer → medians."""
    return {
        load: {peer: medians(samples) for peer, samples in peers.items() if peer != API}
        for load, peers in results.items()
    }


def raw(results: Results) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Every window as it was measured, for whoever wants to see the noise."""
    return {
        load: {peer: [asdict(sample) for sample in samples] for peer, samples in peers.items()}
        for load, peers in results.items()
    }


def table(results: Results) -> str:
    """Medians with spread, and what the sidecar costs in each peer's terms; a Markdown table."""
    rows = [
        _row(load, peer, samples, peers.get(OURS))
        for load, peers in results.items()
        for peer, samples in peers.items()
        if peer != API
    ]
    return markdown(_HEAD, rows)


def added_latency(results: Results) -> str:
    """What a proxy adds to the API's own latency at a fixed rate; empty when that was not measured."""
    rows = []
    for peers in results.values():
        if API in peers:
            alone = _quantiles(peers[API])
            rows.append(["the API alone", *(f"{ms:.2f}" for ms in alone)])
            for peer in [name for name in peers if name != API]:
                with_proxy = zip(_quantiles(peers[peer]), alone, strict=True)
                rows.append([peer, *(f"{ms - base:+.2f}" for ms, base in with_proxy)])
    return markdown(("added latency", "p50 ms", "p99 ms", "p99.9 ms"), rows) if rows else ""


def _quantiles(samples: Sequence[Sample]) -> tuple[float, float, float]:
    return (
        median(sample.p50_ms or 0.0 for sample in samples),
        median(sample.p99_ms or 0.0 for sample in samples),
        median(sample.p999_ms or 0.0 for sample in samples),
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns padded, so that it also reads in a terminal; numbers to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    left = [any(not _NUMBER.fullmatch(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        _line(head, widths, left),
        "|" + "|".join(_rule(w, to_left) for w, to_left in zip(widths, left, strict=True)) + "|",
    ]
    return "\n".join([*lines, *(_line(row, widths, left) for row in rows)])


def _row(load: str, peer: str, samples: Sequence[Sample], ours: Sequence[Sample] | None) -> list[str]:
    cpu = spread([sample.cpu_us_per_request for sample in samples])
    middle = medians(samples)
    times = ratio(spread([s.cpu_us_per_request for s in ours]).middle, cpu.middle) if ours else None
    return [
        load,
        peer,
        f"{cpu.middle:.1f}",
        f"{cpu.percent:.0f} %",
        "" if times is None or peer == OURS else f"{times:.2f} ×",
        _number(middle["requests_per_second"], 0),
        _number(middle["p50_ms"], 2),
        _number(middle["p99_ms"], 2),
        _number((middle["rss_kb"] or 0) / 1024, 1),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _rule(width: int, to_left: bool) -> str:
    return "-" * (width + 2) if to_left else "-" * (width + 1) + ":"


def _line(cells: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> str:
    padded = [
        cell.ljust(width) if to_left else cell.rjust(width)
        for cell, width, to_left in zip(cells, widths, left, strict=True)
    ]
    return "| " + " | ".join(padded) + " |"
