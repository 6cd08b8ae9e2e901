"""`make bench`: runs the chosen loads on the chosen peers and writes the table, the chart and the JSON."""

import json
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.budget import budgets
from bench.chart import draw
from bench.machine import describe
from bench.options import Options, read_options
from bench.peers import PEERS
from bench.process import BenchFailed
from bench.report import added_latency, figures, markdown, raw, table
from bench.requirement import require
from bench.rounds import Results, run_loads
from bench.sections import OURS_ALONE, RUN, Section
from bench.world import World


def main(arguments: Sequence[str]) -> int:
    """0 when everything asked for was measured, 1 when something was not, with its reason."""
    options = read_options(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    _raise_file_limit()
    try:
        require([PEERS[name] for name in options.peers])
        _run(options)
    except BenchFailed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    return 0


def _run(options: Options) -> None:
    begun = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - begun:6.1f} s] {line}", file=sys.stderr, flush=True)

    sections: dict[str, Section] = {}
    with World(options.build / "bench") as world:
        results = run_loads(world, options, say)
        for name in options.sections:
            if name not in OURS_ALONE or "sidecar" in options.peers:
                say(name)
                sections[name] = RUN[name](world, options)
    _write(options.build, results, sections)


def _write(build: Path, results: Results, sections: dict[str, Section]) -> None:
    """The table on stdout; `bench.json` holds medians, `bench-more.json` every window and all sections."""
    cells = figures(results) | {name: section.cells for name, section in sections.items() if section.cells}
    data = {name: section.data for name, section in sections.items()}
    more = {"machine": describe(), "sections": data, "windows": raw(results)}
    (build / "bench.json").write_text(json.dumps(cells, indent=1) + "\n")
    (build / "bench-more.json").write_text(json.dumps(more, indent=1) + "\n")
    draw(cells, build / "bench.svg")
    if results:
        print(table(results))
    if added := added_latency(results):
        print(f"\n{added}")
    for section in sections.values():
        print(f"\n{section}")
    rows = [budget.row() for budget in budgets(cells, data)]
    if rows:
        print("\n" + markdown(("budget", "measured", "at most", ""), rows))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
