"""Finds the service file of a command: `--config`, else `SIDECAR_CONFIG`, else the usual places."""

import argparse
import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "SIDECAR_CONFIG"
INJECTED: Final = "SIDECAR_SERVICE_FILE"
"""In an injected container the service file is this variable. Named here again: `run` must not import the injector."""
USUAL: Final = (Path("sidecar.yaml"), Path("/etc/sidecar/config/sidecar.yaml"))
"""In the working directory, and where the chart and the injector mount it."""


def add_config(parser: argparse.ArgumentParser) -> None:
    """Declare `--config`; it is required only if no file is found."""
    default = _default()
    parser.add_argument(
        "--config",
        type=Path,
        required=default is None,
        default=default,
        metavar="FILE",
        help=f"the service file (default: {VARIABLE}, ./{USUAL[0]} or {USUAL[1]})",
    )


def _default() -> Path | None:
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    if INJECTED in os.environ:
        return Path(f"env:{INJECTED}")
    return next((path for path in USUAL if path.is_file()), None)
