"""Services: the port keeps its name and its number; only where it leads changes."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.injection.annotation import Status


@dataclass(frozen=True, slots=True)
class Protected:
    """A workload that carries the sidecar, as a Service's selector sees it."""

    namespace: str | None
    labels: Mapping[str, str]
    status: Status


def rewire_service(service: dict[str, Any], protected: Iterable[Protected]) -> dict[str, Any]:
    """Lead a Service that selects a protected workload to the sidecar; other objects come back as they were.

    A port that targets the API's *name* needs nothing: the name has moved. One that targets its number, or
    has no `targetPort` and the same number, is led to the sidecar's number. A number and not a name, because
    Services do not find port names in native sidecars before Kubernetes 1.32.
    """
    if service.get("kind") != "Service" or service.get("apiVersion") != "v1":
        return service
    spec = service.get("spec")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("ports"), list):
        return service
    made = copy.deepcopy(service)
    for one in protected:
        if _selects(service, one):
            _lead(made["spec"]["ports"], one.status)
    return made if made != service else service


def _selects(service: Mapping[str, Any], workload: Protected) -> bool:
    namespace = (service.get("metadata") or {}).get("namespace")
    selector = service["spec"].get("selector")
    if not isinstance(selector, Mapping) or not selector or namespace != workload.namespace:
        return False
    return all(workload.labels.get(key) == value for key, value in selector.items())


def _lead(ports: list[Any], status: Status) -> None:
    for port in ports:
        if not isinstance(port, dict) or port.get("protocol", "TCP") != "TCP":
            continue
        if port.get("targetPort", port.get("port")) == status.upstream_port:
            port["targetPort"] = status.port
            if port.get("appProtocol") == "http":
                port["appProtocol"] = "https"
