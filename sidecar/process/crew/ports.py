"""Checks whether the ports are free: with SO_REUSEPORT the kernel lets two instances share a port without an error."""

import errno
import os
import socket
from collections.abc import Container

from sidecar.settings import Loaded


def check_ports(loaded: Loaded) -> None:
    """Raises OSError with the first address that several workers cannot share."""
    for listener in loaded.proxy.listeners:
        if listener.port == 0:
            raise OSError(
                errno.EINVAL, f"listener {listener.name}: several workers need a port that is not 0"
            )
        if listener.host == "*":
            _check("0.0.0.0", listener.port)  # noqa: S104  # every address is what was asked for
            if socket.has_ipv6:
                _check("::", listener.port, missing={errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
        else:
            _check(listener.host, listener.port)


def _check(host: str, port: int, missing: Container[int | None] = ()) -> None:
    """Raises OSError; `missing` are the errors of a family that this machine does not have."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ":" in host:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
    except OSError as error:
        if error.errno in missing:
            return
        where = f"{host}:{port}"
        raise OSError(
            error.errno, f"cannot listen on {where}: {os.strerror(error.errno or 0).lower()}"
        ) from None
