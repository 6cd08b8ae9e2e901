"""`sidecar run`: serve until SIGTERM. No port is bound before the whole configuration is good.

Exit codes: 0 after the drain or when told to end before it served, 1 when the configuration is bad or a port is taken.
"""

import argparse
import sys

from sidecar.command.service_file import add_config
from sidecar.process.host import hardening
from sidecar.process.host.early_signals import EARLY
from sidecar.process.reload.loader import Reading
from sidecar.settings.problem import SettingsError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_config(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Serve. Raises `SettingsError` before anything is bound."""
    EARLY.hold()
    has_output = 1 not in hardening.occupy_standard_descriptors()
    try:
        reading = Reading(arguments.config)
        EARLY.at_end = reading.give_up
        from sidecar.process.serving import serve  # noqa: PLC0415 — imported while the configuration is read

        return 0 if EARLY.end else serve(arguments.config, reading.result(), EARLY, has_output=has_output)
    except SettingsError:
        if EARLY.end:  # told to end, so the result of the reading does not matter
            return 0
        raise
    except (OSError, hardening.HardeningError) as error:
        print(f"sidecar: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
