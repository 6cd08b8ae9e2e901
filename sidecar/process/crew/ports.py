"""Whether the ports are free: with SO_REUSEPORT the kernel would let two instances share one unnoticed."""

import errno
import os
import socket

from sidecar.settings import Loaded


def check_ports(loaded: Loaded) -> None:
    """Raises OSError that names the first address that several workers cannot share."""
    for listener in loaded.proxy.listeners:
        if listener.port == 0:
            raise OSError(
                errno.EINVAL, f"listener {listener.name}: several workers need a port that is not 0"
            )
        family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((listener.host, listener.port))
            except OSError as error:
                where = f"{listener.host}:{listener.port}"
                raise OSError(
                    error.errno, f"cannot listen on {where}: {os.strerror(error.errno or 0).lower()}"
                ) from None
