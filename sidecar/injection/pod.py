"""A Pod (or a Pod template) in, the same with the sidecar in front of its API out.

Theory of operation. The API keeps its port but must listen on 127.0.0.1 only. The sidecar listens on another port and
takes over the *name* of the API's port, so a Service that targets the name needs no change. The service file and the
rules for the kubelet's probes are in the container's environment, which is immutable in a Pod. Apart from these, the
cluster needs only the policies and a certificate, and nobody who may patch the Pod later can change the sidecar's
configuration.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sidecar.injection import annotation, probe, safety, undo
from sidecar.injection.annotation import Status, Wishes
from sidecar.injection.container import PORT_NAME, clients_secret, container, volumes
from sidecar.injection.parts import containers, tcp_ports
from sidecar.injection.placement import Placement, place
from sidecar.injection.problem import CannotInject
from sidecar.injection.protocol import Beside, Spoken, spoken
from sidecar.injection.service_file import (
    DEFAULT_GRACE_SECONDS,
    PROBE_VARIABLE,
    SERVICE_VARIABLE,
    probe_rules_text,
    service_text,
)
from sidecar.injection.settings import HTTP1, InjectionSettings

LOOPBACK_PORT_NAME = "api-loopback"


@dataclass(frozen=True, slots=True)
class InjectedPod:
    """The new Pod, a record of the changes, and notes for the user."""

    pod: dict[str, Any]
    status: Status
    notes: tuple[str, ...]


def inject_pod(
    pod: dict[str, Any],
    wanted: Wishes,
    settings: InjectionSettings,
    *,
    workload: str | None,
    beside: Beside | None = None,
) -> InjectedPod:
    """Inject the sidecar into a copy of `pod` (a mapping with `metadata` and `spec`).

    `workload` is the name used to find the Secret of a certificate. Raises `CannotInject`.
    """
    made = copy.deepcopy(pod)
    metadata, spec = made.get("metadata") or {}, made["spec"]
    placement = place(spec, metadata, wanted, settings)
    notes = [*_notes(spec, metadata, placement, settings)]
    api_containers = containers(spec)
    through_sidecar = (wanted.probes or settings.probes) == "sidecar"
    said = spoken(spec, placement, wanted, settings, beside or Beside())
    health_port = settings.health_port if through_sidecar else None
    rewired = probe.rewire(api_containers, placement, health_port, said.upstream)
    _check_paths(rewired.public_paths, settings)
    entries = _move_port(api_containers, placement, settings)
    notes += [*said.notes, *rewired.notes, *_open_ports(api_containers, placement)]
    if wanted.config_map is not None:
        notes += rewired.left_to_do()

    files = _files(placement, wanted, settings, spec, rewired=rewired, said=said, workload=workload)
    _append(spec, "volumes", volumes(wanted, settings, workload=workload))
    field = "initContainers" if settings.is_native else "containers"
    _append(spec, field, [container(wanted, settings, entries, files)])
    _hold(api_containers, placement, settings)
    _pull_by(spec, settings)
    labels = {**settings.labels, **(metadata.get("labels") or {}), annotation.INJECTED_LABEL: "true"}
    annotations = {**(metadata.get("annotations") or {}), annotation.INJECT: "true"}
    made["metadata"] = {**metadata, "labels": labels, "annotations": annotations}
    status = Status(
        placement.container,
        placement.upstream_port,
        placement.port,
        said.upstream if said.upstream != HTTP1 else None,
        tuple(undo.record(pod, made)),
    )
    annotations[annotation.STATUS] = status.text()
    return InjectedPod(made, status, tuple(notes))


def restored(pod: dict[str, Any], status: Status) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A copy of an injected Pod without the sidecar, and a sentence for each value that could not be restored.

    Raises `CannotInject` if `status` does not record the changes.
    """
    if status.undo is None:
        raise CannotInject(
            "version 0.1 put the sidecar here and kept no record of what it replaced: start with the manifest from"
            " before the injection"
        )
    made = copy.deepcopy(pod)
    annotations = (made.get("metadata") or {}).get("annotations") or {}
    annotations.pop(annotation.STATUS, None)
    return made, tuple(undo.taken_back(made, status.undo))


def _notes(
    spec: dict[str, Any], metadata: dict[str, Any], placement: Placement, settings: InjectionSettings
) -> Iterator[str]:
    yield from safety.open_address_notes(spec, placement.container)
    yield from safety.mesh_notes(metadata, placement.port)
    yield from safety.registry_notes(settings.image)


def _check_paths(paths: tuple[str, ...], settings: InjectionSettings) -> None:
    """Raises `CannotInject` for a path that the probes would make public and that the operator did not list."""
    allowed = settings.public_probe_paths
    refused = [path for path in paths if allowed is not None and path not in allowed]
    if refused:
        raise CannotInject(
            *(
                f"a probe would make GET {path} public, which is not in the injector's public_probe_paths;"
                " use an exec probe or a listed path"
                for path in refused
            )
        )


def _move_port(
    api_containers: list[dict[str, Any]], placement: Placement, settings: InjectionSettings
) -> list[dict[str, Any]]:
    """Move the name (and the host port) of the API's port to the sidecar; returns the sidecar's ports."""
    own = {"name": PORT_NAME, "containerPort": placement.port, "protocol": "TCP"}
    moved: list[dict[str, Any]] = []
    for api in api_containers:
        if api["name"] != placement.container:
            continue
        for entry in tcp_ports(api):
            if entry["containerPort"] != placement.upstream_port:
                continue
            if settings.finds_sidecar_port_names:
                moved += _take_over(entry, own)
            elif "name" in entry or "hostPort" in entry:
                # A containerPort is a declaration, not a socket: the name may now point at the sidecar.
                entry["containerPort"] = placement.port
    return moved or [own]


def _take_over(entry: dict[str, Any], own: dict[str, Any]) -> list[dict[str, Any]]:
    if "name" not in entry and "hostPort" not in entry:
        return []
    taken = {**own, "name": entry.get("name", PORT_NAME)}
    if "name" in entry:
        entry["name"] = LOOPBACK_PORT_NAME
    for field in ("hostPort", "hostIP"):
        if field in entry:
            taken[field] = entry.pop(field)
    return [taken]


def _hold(api_containers: list[dict[str, Any]], placement: Placement, settings: InjectionSettings) -> None:
    """Keep the API running while endpoints are removed: it is stopped first, and the sidecar only after it has ended.

    An API with its own preStop hook is not changed.
    """
    if not settings.pre_stop_seconds or not settings.has_sleep_action:
        return
    for api in api_containers:
        hooks = api.get("lifecycle") or {}
        if api["name"] == placement.container and not hooks.get("preStop"):
            api["lifecycle"] = {**hooks, "preStop": {"sleep": {"seconds": settings.pre_stop_seconds}}}


def _open_ports(api_containers: list[dict[str, Any]], placement: Placement) -> list[str]:
    """Ports that stay reachable without the sidecar: not an error, but the user should know them."""
    return [
        f"port {port['containerPort']} of container {one['name']} is not protected by the sidecar"
        for one in api_containers
        for port in tcp_ports(one)
        if port["containerPort"] not in {placement.upstream_port, placement.port}
    ]


def _files(
    placement: Placement,
    wanted: Wishes,
    settings: InjectionSettings,
    spec: dict[str, Any],
    *,
    rewired: probe.Rewired,
    said: Spoken,
    workload: str | None,
) -> dict[str, str]:
    """The generated files, by the variable that contains each; empty if the Pod has its own service file."""
    if wanted.config_map is not None:
        return {}
    grace = spec.get("terminationGracePeriodSeconds")
    text = service_text(
        placement,
        settings,
        upstream_host=wanted.upstream_host or settings.upstream_host,
        grace_seconds=DEFAULT_GRACE_SECONDS if grace is None else grace,
        probe_rules=bool(rewired.public_paths),
        spoken=said,
        grpc_services=rewired.grpc_services,
        workload=workload,
        has_clients=clients_secret(wanted, settings) is not None,
    )
    paths = rewired.public_paths
    rules = {PROBE_VARIABLE: probe_rules_text(paths)} if paths else {}
    return {SERVICE_VARIABLE: text, **rules}


def _pull_by(spec: dict[str, Any], settings: InjectionSettings) -> None:
    there = {one.get("name") for one in spec.get("imagePullSecrets") or []}
    more = [{"name": name} for name in settings.image_pull_secrets if name not in there]
    if more:
        _append(spec, "imagePullSecrets", more)


def _append(spec: dict[str, Any], field: str, more: list[dict[str, Any]]) -> None:
    spec[field] = [*(spec.get(field) or []), *more]
