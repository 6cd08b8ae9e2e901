"""The inner loop of optimising: CPU per request of the cached path, the sidecar beside nginx, in a few seconds.

`python -m bench.one [seconds] [rounds] [load]`, by default 2, 3 and cached-es256.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.loads import LOADS, Window
from bench.peers import PEERS
from bench.process import BenchFailed
from bench.rounds import prepare
from bench.statistic import spread
from bench.world import World

_PEERS = ("sidecar", "nginx-tls-only")


def main(arguments: Sequence[str]) -> int:
    """Prints one line; 1 when a peer did not do the job."""
    seconds = float(arguments[0]) if arguments else 2.0
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    load = arguments[2] if len(arguments) > 2 else "cached-es256"
    try:
        seen = _measure(load, seconds, rounds)
    except BenchFailed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    ours, floor = (spread(seen[name]) for name in _PEERS)
    print(
        f"{load}: sidecar {ours.middle:.1f} µs/request (± {ours.percent:.0f} %), "
        f"nginx {floor.middle:.1f} (± {floor.percent:.0f} %), ratio {ours.middle / floor.middle:.2f}"
    )
    return 0


def _measure(load: str, seconds: float, rounds: int) -> dict[str, list[float]]:
    seen: dict[str, list[float]] = {name: [] for name in _PEERS}
    with World(Path("build/bench").resolve()) as world:
        running = [world.start(PEERS[name]) for name in _PEERS]
        for peer in running:
            prepare(world, LOADS[load], peer)
        for number in range(rounds):
            drive = LOADS[load].drive(world.material, Window(seconds, seconds * 0.2, number), rounds)
            for peer in running:
                seen[peer.peer.name].append(world.drive(peer, drive).cpu_us_per_request)
    return seen


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
