"""Probes and lifecycle hooks of the API, led through the sidecar.

The kubelet calls the Pod's own address. An API that listens on 127.0.0.1 no longer answers there, so an HTTP
probe goes to the sidecar's port instead (the kubelet does not verify the certificate) and the generated
policy lets exactly that method and path pass without a token.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.injection.annotation import PREFIX
from sidecar.injection.parts import ports
from sidecar.injection.placement import Placement
from sidecar.injection.problem import CannotInject

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
HOOKS = ("postStart", "preStop")

# What the sidecar's own path matching takes literally, and never refuses as ambiguous.
PLAIN_PATH = re.compile(r"(/|(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+/?)")


@dataclass(frozen=True, slots=True)
class Rewired:
    """What became of the probes: the paths that must be public, and sentences for the reader."""

    public_paths: tuple[str, ...]
    notes: tuple[str, ...]


def rewire(api_containers: list[dict[str, Any]], placement: Placement, *, through_sidecar: bool) -> Rewired:
    """Change, in place, every probe and hook that names the API's port.

    Raises `CannotInject` for one that cannot be kept alive.
    """
    paths: dict[str, None] = {}
    notes: list[str] = []
    problems: list[str] = []
    for container in api_containers:
        for where, action in _actions(container):
            port = _resolved(container, action)
            if port != placement.upstream_port or _host(action):
                continue
            if not through_sidecar:
                _pin_number(action, port)
                continue
            try:
                path = _lead_through(action, placement, f"{where} of container {container['name']}", notes)
            except CannotInject as error:
                problems.extend(error.problems)
                continue
            if path is not None:
                paths[path] = None
    if problems:
        raise CannotInject(*problems)
    return Rewired(tuple(paths), tuple(notes))


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
    """The number of the port an action names; the kubelet looks names up in the same container."""
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
    """The port's name moves to the sidecar; a probe that stays must go by number."""
    target = _target(action)
    if target is not None:
        target["port"] = port


def _lead_through(action: dict[str, Any], placement: Placement, where: str, notes: list[str]) -> str | None:
    if isinstance(action.get("grpc"), dict):
        raise CannotInject(
            f"{where} is a gRPC probe of the API's port, which cannot go through TLS; use an HTTP or exec"
            f" probe, or annotate {PREFIX}probes: keep"
        )
    if where.startswith("lifecycle."):
        raise CannotInject(
            f"{where} calls the API's port; led through the sidecar it would be open to every caller, so use an"
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
    advice = "; give the API a health path of its own" if path == "/" else " to whoever reaches the Service"
    notes.append(f"{where} makes GET {path} public{advice}")
    return path
