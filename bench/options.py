"""What a run was asked for: `ROUNDS= SECONDS= LOADS= PEERS=` of `make bench`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.loads import LOADS
from bench.peers import PEERS

# bench/sections.py
SECTIONS = (
    "idle-connections",
    "idle-http2",
    "startup",
    "gibibyte",
    "denials",
    "growth",
    "unnamed-keys",
    "token-requests",
    "witness",
)


@dataclass(frozen=True, slots=True)
class Options:
    """A checked request; names are known and in the order of the table."""

    rounds: int
    seconds: float
    loads: tuple[str, ...]
    sections: tuple[str, ...]
    peers: tuple[str, ...]
    build: Path

    @property
    def proxies(self) -> tuple[str, ...]:
        """Without those that are only there to be compared with."""
        return tuple(name for name in self.peers if not PEERS[name].over_http1)

    @property
    def warmup(self) -> float:
        return min(2.0, 0.4 * self.seconds)


def read_options(arguments: Sequence[str]) -> Options:
    """The options, or argparse's usage error (exit status 2) that lists what there is."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=_positive, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--loads", default="", help=f"of {', '.join([*LOADS, *SECTIONS])}; default all")
    parser.add_argument("--peers", default="", help=f"of {', '.join(PEERS)}; default all")
    parser.add_argument("--build", type=Path, default=Path("build"))
    given = parser.parse_args(arguments)
    names = _chosen(parser, given.loads, [*LOADS, *SECTIONS])
    return Options(
        rounds=given.rounds,
        seconds=given.seconds,
        loads=tuple(name for name in names if name in LOADS),
        sections=tuple(name for name in names if name in SECTIONS),
        peers=_chosen(parser, given.peers, list(PEERS)),
        build=given.build.resolve(),
    )


def _chosen(parser: argparse.ArgumentParser, text: str, known: list[str]) -> tuple[str, ...]:
    wanted = [word for word in text.replace(" ", ",").split(",") if word]
    unknown = [word for word in wanted if word not in known]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(name for name in known if name in wanted) if wanted else tuple(known)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
