"""`make bench`: runs the chosen loads on the chosen peers and writes the table, the chart and the JSON."""

import json
import resource
import signal
import sys
import time
from collections.abc import Sequence

from bench.options import Options, read_options
from bench.peers import PEERS
from bench.process import BenchFailed
from bench.report import figures, raw, table
from bench.requirement import require
from bench.rounds import run_loads
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

    with World(options.build / "bench") as world:
        results = run_loads(world, options, say)
    print(table(results))
    (options.build / "bench.json").write_text(json.dumps(figures(results), indent=1) + "\n")
    (options.build / "bench-rounds.json").write_text(json.dumps(raw(results)) + "\n")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
