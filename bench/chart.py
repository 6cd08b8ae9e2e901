"""The chart: CPU per request of every peer, a panel for each load; an SVG for the docs."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from bench.sample import Figures

_OURS, _FLOOR, _OTHERS = "#1b6ca8", "#9a9a9a", "#d0a45c"
_COLUMNS = 3


def draw(figures: Mapping[str, Mapping[str, Figures]], path: Path) -> None:
    """Writes `path` (its suffix says the format); loads that measure no CPU have no panel."""
    panels = {load: _bars(peers) for load, peers in figures.items()}
    shown = {load: bars for load, bars in panels.items() if bars}
    if not shown:
        return
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(4.6 * columns, 2.9 * rows), layout="tight")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, (load, bars) in zip(axes.flat, shown.items(), strict=False):
        names = list(bars)
        drawn = axis.barh(names, list(bars.values()), color=[_colour(name) for name in names])
        axis.bar_label(drawn, fmt="%.0f", padding=2, fontsize=8)
        axis.set_title(load, fontsize=10)
        axis.set_xlabel("CPU µs per request", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _bars(peers: Mapping[str, Figures]) -> dict[str, float]:
    return {name: cpu for name, cell in peers.items() if (cpu := cell["cpu_us_per_request"]) is not None}


def _colour(peer: str) -> str:
    if peer.startswith("sidecar"):
        return _OURS
    return _FLOOR if peer == "nginx-tls-only" else _OTHERS
