"""The command `sidecar`, also as `python -m sidecar`."""

import signal
import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    try:
        if sys.argv[1:2] == ["run"]:  # before anything that takes time to import
            from sidecar.process.host.early_signals import EARLY  # noqa: PLC0415

            EARLY.hold()
        else:
            # Raised while modules are imported, `KeyboardInterrupt` may be lost in a library, or leave a traceback.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        from sidecar.command.cli import main as command  # noqa: PLC0415

        return command()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
