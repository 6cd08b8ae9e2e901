"""The annotations by which a Pod requests the sidecar, and in which the injector records its changes."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sidecar.injection.problem import CannotInject
from sidecar.injection.settings import CHOICES, H2, HTTP1, Protocol, object_name

PREFIX = "bound-token-sidecar/"
INJECT = PREFIX + "inject"
STATUS = PREFIX + "status"
INJECTED_LABEL = PREFIX + "injected"
"""Label of every Pod with the sidecar, for the selectors of NetworkPolicies and PodMonitors."""

_WRITTEN_BY_THE_INJECTOR = {STATUS, PREFIX + "service-file", PREFIX + "probe-rules"}
"""Version 0.1 wrote the last two: it kept the files where anybody who may patch a Pod could change them."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """The requests of one Pod, which override the injector's settings; `None` means no request."""

    container: str | None = None
    upstream_port: int | None = None
    port: int | None = None
    policies: str | None = None
    tls_secret: str | None = None
    config_map: str | None = None
    probes: Literal["sidecar", "keep"] | None = None
    upstream_host: Literal["127.0.0.1", "::1"] | None = None
    upstream_protocol: Protocol | None = None
    clients_secret: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The changes of the injector to a Pod, kept in an annotation for a later injection."""

    container: str
    upstream_port: int
    port: int
    upstream_protocol: str | None = None
    """The protocol of the API, if not HTTP/1.1."""
    undo: tuple[Any, ...] | None = None
    """The steps that undo the injection (`undo.record`); None in a record of version 0.1."""

    def text(self) -> str:
        """The annotation's value."""
        record: dict[str, Any] = {
            "container": self.container,
            "upstream_port": self.upstream_port,
            "port": self.port,
            "upstream_protocol": self.upstream_protocol,
            "undo": self.undo,
        }
        return json.dumps(
            {name: value for name, value in record.items() if value is not None}, separators=(",", ":")
        )


def wishes(metadata: Mapping[str, Any], allowed: Collection[str] = CHOICES) -> Wishes:
    """The requests in the Pod's annotations, as far as its author is `allowed` to choose.

    Raises `CannotInject` for an invalid value, for an unknown name with our prefix (a misspelt annotation must not
    silently mean the default), and for a choice that the author may not make.
    """
    annotations = _strings(metadata, "annotations")
    ours = {
        key.removeprefix(PREFIX): value
        for key, value in annotations.items()
        if key.startswith(PREFIX) and key not in _WRITTEN_BY_THE_INJECTOR
    }
    ours.pop("inject", None)
    known: dict[str, str | None] = {name: ours.pop(name, None) for name in CHOICES}
    if ours:
        raise CannotInject(*(f"annotation {PREFIX}{name} is not one this injector knows" for name in ours))
    taken = [name for name, value in known.items() if value is not None and name not in allowed]
    if taken:
        raise CannotInject(*(f"annotation {PREFIX}{name} cannot be set by a Pod here" for name in taken))
    probes = known["probes"]
    if probes not in {None, "sidecar", "keep"}:
        raise CannotInject(f"annotation {PREFIX}probes must be 'sidecar' or 'keep'")
    host = known["upstream-host"]
    if host not in {None, "127.0.0.1", "::1"}:
        raise CannotInject(f"annotation {PREFIX}upstream-host must be '127.0.0.1' or '::1'")
    protocol = known["upstream-protocol"]
    if protocol not in {None, H2, HTTP1}:
        raise CannotInject(f"annotation {PREFIX}upstream-protocol must be '{H2}' or '{HTTP1}'")
    return Wishes(
        container=known["container"],
        upstream_port=_port("upstream-port", known["upstream-port"]),
        port=_port("port", known["port"]),
        policies=_object("policies", known["policies"]),
        tls_secret=_object("tls-secret", known["tls-secret"]),
        config_map=_object("config-map", known["config-map"]),
        probes=probes,  # type: ignore[arg-type]  # narrowed by the membership test above
        upstream_host=host,  # type: ignore[arg-type]  # as above
        upstream_protocol=protocol,
        clients_secret=_object("clients-secret", known["clients-secret"]),
    )


def status(metadata: Mapping[str, Any]) -> Status | None:
    """The record of an earlier injection, or `None` if the Pod has no readable one."""
    text = _strings(metadata, "annotations").get(STATUS)
    if text is None:
        return None
    try:
        record = json.loads(text)
        undo = record.get("undo")
        return Status(
            str(record["container"]),
            int(record["upstream_port"]),
            int(record["port"]),
            H2 if record.get("upstream_protocol") == H2 else None,
            tuple(undo) if isinstance(undo, list) else None,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _strings(metadata: Mapping[str, Any], name: str) -> Mapping[str, str]:
    found: Mapping[str, str] = metadata.get(name) or {}
    return found


def switch(metadata: Mapping[str, Any]) -> bool | None:
    """Whether the Pod requests the sidecar (true), declines it (false) or does neither.

    The annotation takes precedence over the label of the same name, which exists because selectors match labels only.
    """
    label = _strings(metadata, "labels").get(INJECT)
    value = _strings(metadata, "annotations").get(INJECT, label)
    if value is None:
        return None
    if value not in {"true", "false"}:
        raise CannotInject(f"annotation {INJECT} must be the string 'true' or 'false'")
    return value == "true"


def _object(name: str, value: str | None) -> str | None:
    """An empty name, for example, must not mean the default. `{name}` stands for the workload's name, if it has one."""
    try:
        if value is not None:
            object_name(value.replace("{name}", "name") if name == "tls-secret" else value)
    except ValueError as error:
        raise CannotInject(f"annotation {PREFIX}{name}: {error}") from None
    return value


def _port(name: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value[:6]) <= 65535:
        raise CannotInject(f"annotation {PREFIX}{name} must be a port number")
    return int(value)
