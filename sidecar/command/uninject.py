"""`sidecar uninject`: takes out of Kubernetes manifests what `sidecar inject` put in."""

import argparse

from sidecar.command.inject import configure_files, rewrite
from sidecar.injection.bundle import uninject_bundle


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `sidecar uninject`."""
    configure_files(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Read manifests, write them without the sidecar; 0, or 1 and nothing written. Raises `SettingsError`."""
    return rewrite(arguments, uninject_bundle)
