"""The parts of a Pod's spec that several modules read. Pure."""

from collections.abc import Mapping
from typing import Any


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
