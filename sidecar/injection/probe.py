"""Redirects probes and lifecycle hooks of the API through the sidecar.

The kubelet calls the Pod's own address. An API that listens on 127.0.0.1 does not answer there, so an HTTP probe goes
to the sidecar's port instead (the kubelet does not verify the certificate), and the generated policy permits exactly
that method and path without a token. A gRPC probe cannot use TLS; the sidecar's health port asks the API instead.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.injection.annotation import PREFIX
from sidecar.injection.parts import ports
from sidecar.injection.placement import Placement
from sidecar.injection.problem import CannotInject
from sidecar.injection.settings import HTTP1, Protocol

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
HOOKS = ("postStart", "preStop")

# Characters that the sidecar's path matching takes literally and never refuses as ambiguous.
PLAIN_PATH = re.compile(r"(/|(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+/?)")


SERVICE_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,255})?", re.ASCII)
"""Service names that `health.grpc_services` accepts."""


_STAYS = "it calls the Pod's address, where an API on 127.0.0.1 does not answer"


@dataclass(frozen=True, slots=True)
class Rewired:
    """The result for the probes: the paths that must be public, and notes for the user."""

    public_paths: tuple[str, ...]
    notes: tuple[str, ...]
    grpc_services: tuple[str, ...] = ()
    """Services for which the sidecar's health port must ask the API."""

    def left_to_do(self) -> Iterator[str]:
        """The settings for probes that a user's own service file and policies must contain."""
        if self.public_paths:
            yield f"the policy must let GET {' '.join(self.public_paths)} pass for the probes"
        if self.grpc_services:
            named = ", ".join(f'"{one}"' for one in self.grpc_services)
            yield f"the service file must list `health: {{grpc_services: [{named}]}}` for the probes"


def rewire(
    api_containers: list[dict[str, Any]], placement: Placement, health_port: int | None, protocol: Protocol
) -> Rewired:
    """Change, in place, every probe and hook that names the API's port, whose protocol is `protocol`.

    Without a `health_port` of the sidecar, they keep the port, by number. Raises `CannotInject` for a probe that
    would fail.
    """
    paths: dict[str, None] = {}
    services: dict[str, None] = {}
    notes: list[str] = []
    problems: list[str] = []
    for container in api_containers:
        for where, action in _actions(container):
            port = _resolved(container, action)
            if port != placement.upstream_port or _host(action):
                continue
            place = f"{where} of container {container['name']}"
            if health_port is None:
                _pin_number(action, port)
                notes.append(f"{place} stays: {_STAYS}")
                continue
            try:
                if isinstance(action.get("grpc"), dict):
                    services[_ask_in_its_place(action, health_port, protocol, place, notes)] = None
                    continue
                path = _lead_through(action, placement, place, notes)
            except CannotInject as error:
                problems.extend(error.problems)
                continue
            if path is not None:
                paths[path] = None
    if problems:
        raise CannotInject(*problems)
    return Rewired(tuple(paths), tuple(notes), tuple(services))


def _actions(container: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in PROBES:
        if isinstance(container.get(name), dict):
            yield name, container[name]
    hooks = container.get("lifecycle")
    for name in HOOKS:
        if isinstance(hooks, dict) and isinstance(hooks.get(name), dict):
            yield f"lifecycle.{name}", hooks[name]


def _target(action: Mapping[str, Any]) -> dict[str, Any] | None:
    for kind in ("httpGet", "tcpSocket", "grpc"):
        if isinstance(action.get(kind), dict):
            target: dict[str, Any] = action[kind]
            return target
    return None


def _host(action: Mapping[str, Any]) -> bool:
    target = _target(action)
    return target is not None and bool(target.get("host"))


def _resolved(container: Mapping[str, Any], action: Mapping[str, Any]) -> int | None:
    """The number of the port of an action; the kubelet looks up names in the same container."""
    target = _target(action)
    if target is None:
        return None
    wanted = target.get("port")
    if isinstance(wanted, int):
        return wanted
    for port in ports(container):
        if port.get("name") == wanted:
            return int(port["containerPort"])
    return None


def _pin_number(action: dict[str, Any], port: int) -> None:
    """Replace the port's name, which moves to the sidecar, by its number."""
    target = _target(action)
    if target is not None:
        target["port"] = port


def _ask_in_its_place(
    action: dict[str, Any], health_port: int, protocol: Protocol, where: str, notes: list[str]
) -> str:
    """Change a gRPC probe, which cannot use TLS, to ask the sidecar's health port, which asks the API. Returns the
    service.
    """
    if protocol == HTTP1:
        raise CannotInject(
            f"{where} is a gRPC probe, which an API of {HTTP1} does not answer; use an HTTP or exec probe, or annotate"
            f" {PREFIX}upstream-protocol: h2"
        )
    service = str(action["grpc"].get("service") or "")
    if not SERVICE_NAME.fullmatch(service):
        raise CannotInject(f"{where} asks for a gRPC service with an invalid name: {service[:80]!r}")
    query = f"?service={service}" if service else ""
    asked = {"path": f"/grpcz{query}", "port": health_port}
    members = [("httpGet", asked) if name == "grpc" else (name, one) for name, one in action.items()]
    action.clear()
    action.update(members)
    notes.append(
        f"{where} calls the sidecar's health port, which asks the API by gRPC; nothing becomes public"
    )
    return service


def _lead_through(action: dict[str, Any], placement: Placement, where: str, notes: list[str]) -> str | None:
    if where.startswith("lifecycle."):
        raise CannotInject(
            f"{where} calls the API's port; through the sidecar it would be open to every caller, so use an"
            f" exec hook, or annotate {PREFIX}probes: keep"
        )
    if isinstance(action.get("tcpSocket"), dict):
        action["tcpSocket"]["port"] = placement.port
        notes.append(f"{where} now only proves that the sidecar listens; an HTTP probe would reach the API")
        return None
    request: dict[str, Any] = action["httpGet"]
    path = str(request.get("path") or "/")
    path = (path if path.startswith("/") else "/" + path).partition("?")[0]
    if not PLAIN_PATH.fullmatch(path):
        raise CannotInject(f"{where} asks for a path that no rule can match literally: {path!r}")
    request["scheme"] = "HTTPS"
    request["port"] = placement.port
    advice = (
        "; use a path that only the health check needs"
        if path == "/"
        else " to everyone who can reach the Service"
    )
    notes.append(f"{where} makes GET {path} public{advice}")
    return path
