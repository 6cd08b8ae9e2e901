"""Debian packages a run needs, installed where that can be done."""

import os
import shutil
import subprocess
from collections.abc import Sequence


def install(packages: Sequence[str]) -> None:
    """Tries to; whoever asked looks whether what it needs is there now. Without root or apt-get nothing happens."""
    if not packages or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print(f"installing {' '.join(packages)}")
    # RUNLEVEL=1 keeps the packages from starting their services, which would take ports 80 and 443
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    command = ["apt-get", "install", "--yes", "--quiet", "--quiet", "--no-install-recommends", *packages]
    subprocess.run(command, check=False, env=quiet, stdout=subprocess.DEVNULL)
