"""Programs of Debian that tests need: used when they are here, installed when they are not, never done without."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_UNATTENDED = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
"""Some packages ask for a database's name, and would wait."""


def _found(name: str) -> str | None:
    """Servers may be outside an ordinary user's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def program(name: str, package: str) -> str:
    """The path of `name`; installs `package` first if it is missing. Raises `RuntimeError` if that fails."""
    found = _found(name)
    if found is not None:
        return found
    with (Path(tempfile.gettempdir()) / "sidecar-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (
            ["apt-get", "update"],
            ["apt-get", "install", "-y", "--no-install-recommends", package],
        ):
            if _found(name) is None:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=600, check=False, env=_UNATTENDED
                )
                if done.returncode != 0:
                    raise RuntimeError(
                        f"{name} is missing and {' '.join(command)} failed:\n{done.stderr[-2000:]}"
                    )
    found = _found(name)
    if found is None:
        raise RuntimeError(f"{package} is installed but holds no {name}")
    return found
