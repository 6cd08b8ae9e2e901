"""Chooses the API's container and the port that the sidecar protects, or says what prevents injection."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.injection import safety
from sidecar.injection.annotation import PREFIX, Wishes
from sidecar.injection.operating_system import is_for_windows
from sidecar.injection.parts import containers, speaks_http2, tcp_ports
from sidecar.injection.problem import CannotInject
from sidecar.injection.settings import InjectionSettings

CONTAINER = "bound-token-sidecar"
VOLUME_PREFIX = "bound-token-"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True, slots=True)
class Placement:
    """The position of the sidecar: in front of `upstream_port` of `container`, listening on `port`."""

    container: str
    upstream_port: int
    port: int


def place(
    spec: Mapping[str, Any], metadata: Mapping[str, Any], wanted: Wishes, settings: InjectionSettings
) -> Placement:
    """Choose, or raise `CannotInject` with all reasons."""
    container = _api_container(spec, metadata, wanted)
    upstream_port = _upstream_port(container, wanted)
    placement = Placement(container["name"], upstream_port, wanted.port or settings.port)
    problems = [
        *_shape_problems(spec, settings),
        *safety.isolation_problems(spec),
        *_name_problems(spec),
        *_port_problems(spec, placement, settings),
    ]
    if problems:
        raise CannotInject(*problems)
    return placement


def has_sidecar(spec: Mapping[str, Any]) -> bool:
    """Whether the Pod has a container with the sidecar's name, injected or added by hand."""
    return any(
        one["name"] == CONTAINER
        for field in ("containers", "initContainers")
        for one in containers(spec, field)
    )


def _api_container(spec: Mapping[str, Any], metadata: Mapping[str, Any], wanted: Wishes) -> Mapping[str, Any]:
    all_containers = containers(spec)
    if not all_containers:
        raise CannotInject("the Pod has no containers")
    default = (metadata.get("annotations") or {}).get(DEFAULT_CONTAINER)
    name = wanted.container or default
    if name is not None:
        for container in all_containers:
            if container["name"] == name:
                return container
        raise CannotInject(f"there is no container named {name}")
    candidates = [one for one in all_containers if tcp_ports(one)] or all_containers
    if len(candidates) > 1:
        names = ", ".join(one["name"] for one in candidates)
        raise CannotInject(
            f"several containers could be the API ({names}); name it with annotation {PREFIX}container"
        )
    return candidates[0]


def _upstream_port(container: Mapping[str, Any], wanted: Wishes) -> int:
    if wanted.upstream_port is not None:
        return wanted.upstream_port
    numbers = sorted({port["containerPort"] for port in tcp_ports(container)})
    if len(numbers) == 1:
        return int(numbers[0])
    named = [
        port["containerPort"]
        for port in tcp_ports(container)
        if str(port.get("name", "")) in {"http", "https", "web", "api", "http-web"}
    ]
    named = named or [port["containerPort"] for port in tcp_ports(container) if speaks_http2(port)]
    if len(named) == 1:
        return int(named[0])
    declared = f"declares {', '.join(map(str, numbers))}" if numbers else "declares no TCP port"
    raise CannotInject(
        f"container {container['name']} {declared}; set the API's port with annotation {PREFIX}upstream-port"
    )


def _shape_problems(spec: Mapping[str, Any], settings: InjectionSettings) -> Iterator[str]:
    if spec.get("hostNetwork"):
        yield (
            "hostNetwork shares the loopback interface with the whole node, so the API could be reached"
            " around the sidecar"
        )
    if is_for_windows(spec):
        yield "the sidecar's image runs on Linux nodes only"
    if not settings.is_native and (spec.get("restartPolicy") or "Always") != "Always":
        yield (
            "a Pod that runs to completion never completes beside an ordinary sidecar container; native"
            " sidecars (Kubernetes 1.29) are needed"
        )


def _name_problems(spec: Mapping[str, Any]) -> Iterator[str]:
    for volume in spec.get("volumes") or []:
        if volume["name"].startswith(VOLUME_PREFIX):
            yield f"volume {volume['name']} uses a name that a volume of the sidecar needs"


def _port_problems(
    spec: Mapping[str, Any], placement: Placement, settings: InjectionSettings
) -> Iterator[str]:
    ours = {
        placement.port: f"{PREFIX}port",
        settings.health_port: "the injector's health_port",
        settings.admin_port: "the injector's admin_port",
    }
    if len(ours) != 3:
        yield f"annotation {PREFIX}port is also the sidecar's health or admin port"
    if placement.upstream_port in ours:
        yield (
            f"the API's port {placement.upstream_port} is a port that the sidecar needs; choose another one with"
            f" {ours[placement.upstream_port]}"
        )
    for field in ("containers", "initContainers"):
        for container in containers(spec, field):
            for port in tcp_ports(container):
                number = port["containerPort"]
                if number in ours and number != placement.upstream_port:
                    yield (
                        f"containerPort {number} of container {container['name']} conflicts with the sidecar's;"
                        f" choose another one with {ours[number]}"
                    )
