"""Signals that come before the event loop can take them: held until it can.

Until then the system would end the process for SIGHUP, Python would leave a traceback for SIGINT, and the first process
of a container would not even notice SIGTERM (pid_namespaces(7)).
"""

import signal
from collections.abc import Callable
from types import FrameType


class EarlySignals:
    """The signals that came so far."""

    def __init__(self) -> None:
        self.reload = False
        """SIGHUP came."""
        self.end = False
        """SIGTERM or SIGINT came."""
        self.at_end: Callable[[], object] = lambda: None
        """Called when it comes: what the process waits for must be ended."""

    def hold(self) -> None:
        """Take the signals from now on. Call it in the main thread; may be called again."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.end = True
            self.at_end()


EARLY = EarlySignals()
"""The signals of this process."""
