"""Installs the Debian packages a run needs, or says which are missing and how to get them."""

import os
import shutil
import subprocess

from bench.peers import Peer, missing
from bench.process import BenchFailed


def require(peers: list[Peer]) -> None:
    """Raises `BenchFailed` with the command to type when something is missing and cannot be installed."""
    packages, _ = missing(peers)
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {' '.join(packages)}")
        _install(packages)
    packages, programs = missing(peers)
    if packages:
        raise BenchFailed(f"missing; as root: apt-get install --no-install-recommends {' '.join(packages)}")
    if programs:
        raise BenchFailed(f"missing: {', '.join(programs)}; `make install` brings them")


def _install(packages: list[str]) -> None:
    # RUNLEVEL=1 keeps the packages from starting their services, which would take ports 80 and 443
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    command = ["apt-get", "install", "--yes", "--quiet", "--quiet", "--no-install-recommends", *packages]
    subprocess.run(command, check=False, env=quiet, stdout=subprocess.DEVNULL)
