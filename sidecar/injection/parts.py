"""Accessors for the parts of a Pod's spec that several modules read. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

_NAME: Final = re.compile(r"(?:grpc(?!-web(?:-|$))|h2c|http2)(?:-.*)?", re.ASCII)
"""gRPC-Web is ordinary HTTP/1.1."""
IN_THE_CLEAR: Final = frozenset({"grpc", "h2c", "http2", "kubernetes.io/h2c"})
"""Values of `appProtocol` for HTTP/2 without TLS."""


def containers(spec: Mapping[str, Any], field: str = "containers") -> list[dict[str, Any]]:
    """The containers listed under `field`; an absent or null list is empty."""
    found: list[dict[str, Any]] = spec.get(field) or []
    return found


def ports(container: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The declared ports of a container; an absent or null list is empty."""
    found: list[dict[str, Any]] = container.get("ports") or []
    return found


def tcp_ports(container: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The declared TCP ports."""
    return [port for port in ports(container) if (port.get("protocol") or "TCP") == "TCP"]


def speaks_http2(port: Mapping[str, Any]) -> bool:
    """Whether a port of a container or a Service states, by name or `appProtocol`, that it is plaintext HTTP/2."""
    name, protocol = str(port.get("name") or ""), str(port.get("appProtocol") or "")
    return bool(_NAME.fullmatch(name)) or protocol.lower() in IN_THE_CLEAR
