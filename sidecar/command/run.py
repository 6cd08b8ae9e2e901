"""`sidecar run`: serve until SIGTERM. No port is bound before the whole configuration is good.

Exit codes: 0 after the drain, 1 when the configuration is bad or a port is taken.
"""

import argparse
import sys
from pathlib import Path

from sidecar.process.host import hardening
from sidecar.process.reload.loader import Reading


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the service file")


def execute(arguments: argparse.Namespace) -> int:
    """Serve. Raises `SettingsError` before anything is bound."""
    has_output = 1 not in hardening.occupy_standard_descriptors()
    try:
        reading = Reading(arguments.config)
        from sidecar.process.serving import serve  # noqa: PLC0415 — imported while the configuration is read

        return serve(arguments.config, reading.result(), has_output=has_output)
    except (OSError, hardening.HardeningError) as error:
        print(f"sidecar: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
