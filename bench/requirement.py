"""Installs the Debian packages a run needs, or says which are missing and how to get them."""

from bench.packages import install
from bench.peers import Peer, missing
from bench.process import BenchFailed


def require(peers: list[Peer]) -> None:
    """Raises `BenchFailed` with the command to type when something is missing and cannot be installed."""
    packages, _ = missing(peers)
    install(packages)
    packages, programs = missing(peers)
    if packages:
        raise BenchFailed(f"missing; as root: apt-get install --no-install-recommends {' '.join(packages)}")
    if programs:
        raise BenchFailed(f"missing: {', '.join(programs)}; `make install` brings them")
