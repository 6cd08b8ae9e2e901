"""Services and Ingresses in front of a protected workload.

A Service's port keeps its name and number; only its target changes. An annotation records the previous target, so
that the change can be undone.
"""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.injection import undo
from sidecar.injection.annotation import STATUS, Status
from sidecar.injection.parts import IN_THE_CLEAR
from sidecar.injection.protocol import ServicePort


@dataclass(frozen=True, slots=True)
class Protected:
    """A workload with the sidecar, as the selector of a Service matches it."""

    namespace: str | None
    labels: Mapping[str, str]
    status: Status
    names: frozenset[str] = frozenset()
    """The ports that are directed to the sidecar."""

    def selected_by(self, service: Mapping[str, Any]) -> bool:
        """Whether the selector of a Service matches the workload's Pods."""
        return _selects(service, self.namespace, self.labels)


def _ports(service: Mapping[str, Any]) -> list[Any]:
    found = service["spec"].get("ports")
    return found if isinstance(found, list) else []


def _selects(service: Mapping[str, Any], namespace: str | None, labels: Mapping[str, str]) -> bool:
    metadata, spec = service.get("metadata"), service.get("spec")
    selector = spec.get("selector") if isinstance(spec, Mapping) else None
    if not isinstance(selector, Mapping) or not selector or not isinstance(metadata, Mapping):
        return False
    if metadata.get("namespace") != namespace:
        return False
    return all(labels.get(key) == value for key, value in selector.items())


def rewire_service(service: dict[str, Any], protected: Iterable[Protected]) -> dict[str, Any]:
    """Direct a Service that selects a protected workload to the sidecar; other objects are returned unchanged.

    A port that targets the API's *name* needs no change: the name has moved. One that targets its number, or has no
    `targetPort` and the same number, is directed to the sidecar's number. It is a number and not a name, because
    Services do not find port names in native sidecars before Kubernetes 1.32.
    """
    if service.get("kind") != "Service" or service.get("apiVersion") != "v1":
        return service
    spec = service.get("spec")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("ports"), list):
        return service
    before = restored_service(service)
    made = copy.deepcopy(before)
    for one in protected:
        if one.selected_by(service):
            _lead(made["spec"]["ports"], one)
    if made == before:
        return service if before == service else before
    _keep_record(before, made)
    return made if made != service else service


def restored_service(service: dict[str, Any]) -> dict[str, Any]:
    """A Service with its targets from before the injection; the same object if nothing is recorded."""
    if service.get("kind") != "Service" or service.get("apiVersion") != "v1":
        return service
    metadata = service.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    text = annotations.get(STATUS) if isinstance(annotations, Mapping) else None
    if not isinstance(text, str):
        return service
    try:
        steps = json.loads(text)["undo"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return service
    made = copy.deepcopy(service)
    del made["metadata"]["annotations"][STATUS]
    undo.taken_back(made, steps if isinstance(steps, list) else [])
    return made


def service_ports(
    services: Iterable[Mapping[str, Any]], namespace: str | None, labels: Mapping[str, str]
) -> list[ServicePort]:
    """The ports of the Services that select Pods with these labels, as they were before any injection."""
    return [
        ServicePort(str(one["metadata"].get("name")), port)
        for one in services
        if _selects(one, namespace, labels)
        for port in _ports(restored_service(dict(one)))
        if isinstance(port, Mapping)
    ]


def ingress_notes(ingress: Mapping[str, Any], services: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """If an Ingress terminates TLS in front of a protected Service, the sidecar gets no certificate to compare."""
    spec = ingress.get("spec")
    if ingress.get("kind") != "Ingress" or not isinstance(spec, Mapping) or not spec.get("tls"):
        return
    annotations = (ingress.get("metadata") or {}).get("annotations") or {}
    if annotations.get("nginx.ingress.kubernetes.io/ssl-passthrough") == "true":
        return
    names = {(one.get("metadata") or {}).get("name") for one in services}
    for name in sorted({*_backends(spec)} & names):
        yield (
            f"ends TLS in front of Service {name}: the sidecar sees the ingress, not the client; pass TLS through,"
            " or let the ingress send the certificate in a header"
        )


def _backends(spec: Mapping[str, Any]) -> Iterator[str]:
    paths = [
        path
        for rule in spec.get("rules") or []
        if isinstance(rule, Mapping)
        for path in (rule.get("http") or {}).get("paths") or []
        if isinstance(path, Mapping)
    ]
    for backend in [spec.get("defaultBackend"), *(path.get("backend") for path in paths)]:
        service = backend.get("service") if isinstance(backend, Mapping) else None
        name = service.get("name") if isinstance(service, Mapping) else None
        if isinstance(name, str):
            yield name


def _keep_record(before: dict[str, Any], made: dict[str, Any]) -> None:
    metadata = made.setdefault("metadata", {})
    annotations = {**(metadata.get("annotations") or {}), STATUS: ""}
    metadata["annotations"] = annotations
    steps = [step for step in undo.record(before, made) if step["at"] != ["metadata", "annotations", STATUS]]
    annotations[STATUS] = json.dumps({"undo": steps}, separators=(",", ":"))


def _lead(ports: list[Any], protected: Protected) -> None:
    status = protected.status
    for port in ports:
        if not isinstance(port, dict) or port.get("protocol", "TCP") != "TCP":
            continue
        target = port.get("targetPort", port.get("port"))
        if target == status.upstream_port:
            port["targetPort"] = status.port
        elif not isinstance(target, str) or target not in protected.names:
            continue
        if str(port.get("appProtocol")).lower() in {"http", *IN_THE_CLEAR}:
            port["appProtocol"] = "https"
