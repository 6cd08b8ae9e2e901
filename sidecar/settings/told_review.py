"""Warnings of `sidecar check` about peers other than the proxy that could send a client's certificate."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final

from sidecar.settings.document import Document
from sidecar.settings.operation_sections import ServiceFile
from sidecar.settings.problem import Problem

_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_MOST_ADDRESSES: Final = 1 << 24
"""The largest private network of IPv4 (RFC 1918)."""


def trusted_networks(document: Document, service: ServiceFile) -> Iterator[Problem]:
    """Networks of `proxies` that may contain other machines than a proxy."""
    for index, listener in enumerate(service.listeners):
        for number, one in enumerate(listener.client_certificate.proxies or ()):
            network = one.network
            if network is None:
                continue
            at = ("listeners", index, "client_certificate", "proxies", number, "network")
            if network.version == 4 and network.num_addresses > _MOST_ADDRESSES:
                yield document.warning(at, "everyone in this large network may send any certificate")
            elif any(network.version == own.version and network.overlaps(own) for own in _LOOPBACK):
                message = (
                    "every process in this Pod or on this machine may send any certificate (a neighbour container, a "
                    "server-side request forgery): a Unix socket with `unix_user` allows only one user"
                )
                yield document.warning(at, message)
