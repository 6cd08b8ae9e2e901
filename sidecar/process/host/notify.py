"""Tells systemd the state of the service (sd_notify(3)): a datagram to the socket it names, if any."""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """`READY=1`, `RELOADING=1`, `STOPPING=1`, `WATCHDOG=1`; silent without `NOTIFY_SOCKET`."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.watchdog_interval = _watchdog_interval(environment)
        """Seconds between two signs of life, or 0 when nobody waits for them."""

    def tell(self, *assignments: str) -> None:
        """Send e.g. `READY=1`. A service manager that is gone is not our failure."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        ) as client:
            try:
                client.sendto("\n".join(assignments).encode(), address)
            except OSError:
                return


def _watchdog_interval(environment: Mapping[str, str]) -> float:
    """Half of what systemd allows, as sd_watchdog_enabled(3) advises."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant_for = environment.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (meant_for and meant_for != str(os.getpid())):
        return 0.0
    return int(microseconds) / 2_000_000
