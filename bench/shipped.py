"""Builds the sidecar as its image ships it: exact versions, the hot path compiled, on a distribution's CPython.

`python -m bench.shipped`, which `make bench` calls. The interpreters of distributions and images are built with
profiles of what they run; those that pyenv builds by default are not, and the sidecar's own time is a sixth longer on
one. Every other proxy here is a distribution's or a vendor's build, so this one is, too. `BENCH_PYTHON` names another
interpreter; where the distribution has none that fits, it is the one that runs this.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.packages import install
from bench.process import BenchFailed, run

SHIPPED: Final = Path("build/shipped").resolve()
"""A virtual environment with the sidecar in it."""
PYTHON: Final = SHIPPED / "bin" / "python"
_TOOLS: Final = Path("build/shipped-tools").resolve()
_DISTRIBUTION: Final = "/usr/bin/python3"
_PACKAGES: Final = ("python3-venv", "python3-dev")
_FITS: Final = """\
import ensurepip, os, sys, sysconfig, venv
header = os.path.join(sysconfig.get_path("include"), "Python.h")
print("fits" if (3, 11) <= sys.version_info[:2] <= (3, 13) and os.path.exists(header) else "does not")
"""


def main() -> int:
    """Builds; 1 when that failed."""
    try:
        build(_interpreter())
    except BenchFailed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    return 0


def _interpreter() -> str:
    named = os.environ.get("BENCH_PYTHON")
    if named:
        if not _fits(named):
            raise BenchFailed(
                f"BENCH_PYTHON={named}: not CPython 3.11 to 3.13 with the venv module and its headers"
            )
        return named
    if not _fits(_DISTRIBUTION) and Path(_DISTRIBUTION).exists():
        install(_PACKAGES)
    if _fits(_DISTRIBUTION):
        return _DISTRIBUTION
    print(
        f"bench: no {_DISTRIBUTION} of 3.11 to 3.13 with venv and headers; the sidecar runs on {sys.executable}"
    )
    return sys.executable


def _fits(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", _FITS], check=False, capture_output=True).stdout == b"fits\n"
    except OSError:
        return False


def build(python: str) -> None:
    """Two virtual environments, as in the Dockerfile: what builds, and what is shipped. Raises `BenchFailed`."""
    for place, lock in ((_TOOLS, "requirements-build.lock"), (SHIPPED, "requirements.lock")):
        shutil.rmtree(place, ignore_errors=True)
        _run(python, "-m", "venv", str(place))
        _pip(place, "install", "--require-hashes", "-r", lock)
    wheels = SHIPPED / "wheel"
    _pip(_TOOLS, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), ".")
    _pip(SHIPPED, "install", "--no-deps", "--no-index", *map(str, wheels.glob("*.whl")))


def _pip(place: Path, *arguments: str) -> None:
    _run(str(place / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


def _run(*command: str) -> None:
    path = f"{_TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"
    run(command, {"SIDECAR_COMPILE": "1", "PATH": path})


if __name__ == "__main__":
    sys.exit(main())
