"""Determines the protocol of the API from the Pod and its Services. Pure.

The API cannot be asked at that time. But manifests state the protocol for others: `appProtocol` for the cluster
(KEP-3726), the prefix of a port's name for meshes, a gRPC probe for the kubelet.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sidecar.injection.annotation import PREFIX, Wishes
from sidecar.injection.parts import containers, ports, speaks_http2, tcp_ports
from sidecar.injection.placement import Placement
from sidecar.injection.probe import PROBES
from sidecar.injection.problem import CannotInject
from sidecar.injection.settings import H2, HTTP1, InjectionSettings, Protocol

BOTH: Final[tuple[Protocol, ...]] = (H2, HTTP1)


class ServicePort(NamedTuple):
    """A port of a Service that selects the Pod."""

    service: str
    port: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Beside:
    """Information from outside the Pod."""

    service_ports: Sequence[ServicePort] = ()
    before: str | None = None
    """The result of an earlier injection, from its record; it may have seen Services that are not known now."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """The protocols for the service file, and the reason."""

    listener: tuple[Protocol, ...] = ()
    """Protocols offered to clients; empty: the listener's default."""
    upstream: Protocol = HTTP1
    notes: tuple[str, ...] = ()


def spoken(
    spec: Mapping[str, Any],
    placement: Placement,
    wanted: Wishes,
    settings: InjectionSettings,
    beside: Beside,
) -> Spoken:
    """The chosen protocols, or those of the manifests. Raises `CannotInject` if callers would be refused."""
    chosen = wanted.upstream_protocol or settings.upstream_protocol
    sign = next(_signs(spec, placement, beside), None)
    upstream = chosen or (H2 if sign is not None else HTTP1)
    if upstream == HTTP1:
        doubt = f"{sign} says gRPC or HTTP/2, but upstream-protocol is {HTTP1}: gRPC calls fail"
        return Spoken(settings.protocols or (), HTTP1, (doubt,) if sign is not None else ())
    listener = settings.protocols or BOTH
    if H2 not in listener:
        why = f"{sign} says that the API" if sign is not None else "the API"
        raise CannotInject(
            f"{why} speaks gRPC or HTTP/2, but the injector's protocols offer {HTTP1} only: its callers would be"
            f" refused; add {H2} to them, or annotate {PREFIX}upstream-protocol: {HTTP1}"
        )
    told = f"{sign} says so" if sign is not None else "upstream-protocol says so"
    sides = f"clients are offered {' and '.join(listener)}, and the API is called in {H2}"
    if wanted.config_map is not None:
        sides = f"the service file must offer {H2} in `protocols` and have `upstream: {{protocol: {H2}}}`"
    return Spoken(tuple(listener), H2, (f"the API speaks gRPC or HTTP/2 ({told}): {sides}",))


def _signs(spec: Mapping[str, Any], placement: Placement, beside: Beside) -> Iterator[str]:
    names = set()
    for one in containers(spec):
        for port in tcp_ports(one):
            if one["name"] == placement.container and port["containerPort"] == placement.upstream_port:
                names.add(port.get("name"))
                if speaks_http2(port):
                    yield f"port {port['name']} of container {one['name']}"
    for one in containers(spec):
        for kind in PROBES:
            asked = (one.get(kind) or {}).get("grpc") or {}
            if asked.get("port") == placement.upstream_port:
                yield f"{kind} of container {one['name']}"
    for service, led in beside.service_ports:
        target = led.get("targetPort", led.get("port"))
        leads = target == placement.upstream_port or (isinstance(target, str) and target in names)
        if leads and led.get("protocol", "TCP") == "TCP" and speaks_http2(led):
            yield f"port {led.get('name', led.get('port'))} of Service {service}"
    if not beside.service_ports and beside.before == H2:
        yield "an earlier injection"


def led_names(spec: Mapping[str, Any], number: int) -> frozenset[str]:
    """Names of the ports by which a Service of an injected Pod is directed to `number`, the sidecar's port."""
    return frozenset(
        str(port["name"])
        for field in ("containers", "initContainers")
        for one in containers(spec, field)
        for port in ports(one)
        if port["containerPort"] == number and port.get("name")
    )
