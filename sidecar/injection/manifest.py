"""Any Kubernetes object in, the same object with the sidecar in its Pod template out."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sidecar.injection import annotation
from sidecar.injection.annotation import Status, Wishes
from sidecar.injection.parts import containers, tcp_ports
from sidecar.injection.placement import CONTAINER, has_sidecar
from sidecar.injection.pod import InjectedPod, inject_pod, restored
from sidecar.injection.problem import CannotInject
from sidecar.injection.protocol import Beside, ServicePort
from sidecar.injection.settings import InjectionSettings
from sidecar.injection.shape import check_metadata, check_pod

TEMPLATE_PATHS: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
COMMON_PATH = ("spec", "template")
_JOB_OF_A_CRONJOB = re.compile(r"-\d{8,10}$")


class Mode(Enum):
    """Which Pods get the sidecar, and who may configure it."""

    ALL = "all"
    """Every Pod that does not decline: `sidecar inject`, whose user controls the manifest."""
    ASKED = "asked"
    """Only Pods that request it: the webhook, in a namespace that opted in."""
    ENFORCED = "enforced"
    """Every Pod, without choices for its author: the webhook, in an enforcing namespace."""


@dataclass(frozen=True, slots=True)
class Injection:
    """The manifest after injection. `status` is `None` without a sidecar; an unchanged manifest is the input object
    itself.
    """

    manifest: dict[str, Any]
    status: Status | None
    notes: tuple[str, ...] = ()


def inject(
    manifest: dict[str, Any],
    settings: InjectionSettings,
    mode: Mode = Mode.ALL,
    service_ports: Sequence[ServicePort] = (),
) -> Injection:
    """Inject the sidecar into the Pod (template) of `manifest`, or update an existing one to these settings.

    `service_ports` are those of the Services that select the Pod, as far as they are known. An object without a Pod
    template is returned unchanged. So is one with a sidecar that was added by hand; a webhook refuses it, since any
    container may have that name. Raises `CannotInject`.
    """
    path = template_path(manifest)
    if path is None:
        return Injection(manifest, None)
    template = _checked(manifest, path)
    metadata = template.get("metadata") or {}
    asked = annotation.switch(metadata)
    if asked is False and mode is Mode.ENFORCED:
        raise CannotInject(f"annotation {annotation.INJECT}: a Pod cannot decline in an enforcing namespace")
    if asked is False or (mode is Mode.ASKED and asked is None):
        return Injection(manifest, None)
    if has_sidecar(template["spec"]):
        return _again(manifest, path, settings, mode, service_ports)
    if _is_silent_and_closed(template):
        if mode is Mode.ENFORCED:
            raise CannotInject(
                "it declares no port; in an enforcing namespace declare the API's containerPort"
            )
        return Injection(
            manifest, None, ("declares no port and does not ask for the sidecar: left unchanged",)
        )
    made = _injected(template, settings, mode, manifest, Beside(service_ports))
    return Injection(_replaced(manifest, path, made.pod), made.status, made.notes)


def uninject(manifest: dict[str, Any]) -> Injection:
    """Remove what injection added to the Pod (template), and restore what it replaced.

    Later changes are kept, and a note says so. Raises `CannotInject` for a sidecar without a record.
    """
    path = template_path(manifest)
    if path is None:
        return Injection(manifest, None)
    template = _checked(manifest, path)
    if not has_sidecar(template["spec"]):
        return Injection(manifest, None)
    status = annotation.status(template.get("metadata") or {})
    if status is None:
        raise CannotInject(f"container {CONTAINER} exists, but there is no record of an injection")
    pod, notes = restored(template, status)
    return Injection(_replaced(manifest, path, pod), status, notes)


def _injected(
    template: dict[str, Any],
    settings: InjectionSettings,
    mode: Mode,
    manifest: Mapping[str, Any],
    beside: Beside,
) -> InjectedPod:
    allowed = () if mode is Mode.ENFORCED else settings.pod_may_choose
    wanted = annotation.wishes(template.get("metadata") or {}, allowed)
    return inject_pod(template, wanted, settings, workload=workload_name(manifest), beside=beside)


def _again(
    manifest: dict[str, Any],
    path: tuple[str, ...],
    settings: InjectionSettings,
    mode: Mode,
    service_ports: Sequence[ServicePort],
) -> Injection:
    """Handle a Pod that has a container with the sidecar's name."""
    template = _at(manifest, path)
    status = annotation.status(template.get("metadata") or {})
    if status is None:
        if mode is not Mode.ALL:
            raise CannotInject(
                f"container {CONTAINER} exists without a record of an injection: any container can have this name;"
                f' remove it, or annotate {annotation.INJECT}: "false" and protect the Pod by other means'
            )
        return Injection(
            manifest, None, (f"container {CONTAINER} was not put there by injection: left unchanged",)
        )
    if status.undo is None:
        return _old_record(manifest, path, settings, mode, status)
    before, left = restored(template, status)
    beside = Beside(service_ports, status.upstream_protocol)
    made = _injected(before, settings, mode, manifest, beside)
    if made.pod == template:
        return Injection(manifest, status, made.notes)
    notes = (*left, *_changes(template, made.pod), *made.notes)
    return Injection(_replaced(manifest, path, made.pod), made.status, notes)


def _old_record(
    manifest: dict[str, Any], path: tuple[str, ...], settings: InjectionSettings, mode: Mode, status: Status
) -> Injection:
    """An injection of version 0.1: its record does not have the replaced values, so only the image can be updated."""
    if mode is Mode.ENFORCED:
        raise CannotInject("version 0.1 put the sidecar here: inject the original manifest with this version")
    made = copy.deepcopy(_at(manifest, path))
    note = "version 0.1 put the sidecar here: its settings stay; inject the original manifest to update them"
    own = _sidecar(made)
    if own is None or own.get("image") == settings.image:
        return Injection(manifest, status, (note,))
    notes = (f"image {own.get('image')} becomes {settings.image}", note)
    own["image"] = settings.image
    return Injection(_replaced(manifest, path, made), status, notes)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Describe the changes of a second injection in one or two sentences."""
    before, after = _sidecar(old) or {}, _sidecar(new) or {}
    if before.get("image") != after.get("image"):
        yield f"image {before.get('image')} becomes {after.get('image')}"
    fields = sorted(name for name in {*before, *after} - {"image"} if before.get(name) != after.get(name))
    if fields:
        yield f"the sidecar's settings are updated: {', '.join(fields)}"
    elif before.get("image") == after.get("image"):
        yield "the parts of the Pod that the sidecar needs are updated"


def _sidecar(pod: Mapping[str, Any]) -> dict[str, Any] | None:
    for field in ("initContainers", "containers"):
        for one in containers(pod["spec"], field):
            if one["name"] == CONTAINER:
                return one
    return None


def template_path(manifest: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The path of the Pod (template) of an object, or `None` if it has none.

    Unknown kinds are included if they have a template with containers at the same path as Deployments.
    """
    kind = manifest.get("kind")
    if isinstance(kind, str) and kind in TEMPLATE_PATHS and "apiVersion" in manifest:
        return TEMPLATE_PATHS[kind]
    found = manifest.get("spec")
    template = found.get("template") if isinstance(found, Mapping) else None
    spec = template.get("spec") if isinstance(template, Mapping) else None
    return COMMON_PATH if isinstance(spec, Mapping) and "containers" in spec else None


def template_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The Pod (template) of an object that has one. Raises `CannotInject` for any other object."""
    path = template_path(manifest)
    if path is None:
        raise CannotInject("the object has no Pod template")
    return _at(manifest, path)


def workload_name(manifest: Mapping[str, Any]) -> str | None:
    """The name by which users know the workload: for a Pod of a controller, the name of its Deployment, for example."""
    metadata = manifest.get("metadata") or {}
    owners = metadata.get("ownerReferences") or []
    labels = metadata.get("labels") or {}
    if manifest.get("kind") == "Pod" and owners:
        owner: str = owners[0]["name"]
        template_hash = labels.get("pod-template-hash")
        if template_hash and owner.endswith(f"-{template_hash}"):
            return owner.removesuffix(f"-{template_hash}")
        return _JOB_OF_A_CRONJOB.sub("", owner) if owners[0].get("kind") == "Job" else owner
    name = metadata.get("name") or str(metadata.get("generateName") or "").rstrip("-")
    return str(name) if name else None


def _is_silent_and_closed(template: Mapping[str, Any]) -> bool:
    """Whether a Pod neither requests the sidecar nor has a port to protect."""
    metadata = template.get("metadata") or {}
    if annotation.switch(metadata) is True or annotation.wishes(metadata) != Wishes():
        return False
    return not any(tcp_ports(one) for one in containers(template["spec"]))


def _checked(manifest: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The Pod (template) at `path`, with checked structure. Raises `CannotInject`."""
    template = _at(manifest, path)
    check_metadata(manifest.get("metadata"))
    check_pod(template)
    return template


def _at(manifest: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    found: Any = manifest
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    if not isinstance(found, dict):
        raise CannotInject(f"there is no Pod template at {'.'.join(path)}")
    return found


def _replaced(manifest: dict[str, Any], path: tuple[str, ...], pod: dict[str, Any]) -> dict[str, Any]:
    if not path:
        return pod
    made = copy.deepcopy(manifest)
    parent = _at(made, path[:-1])
    parent[path[-1]] = pod
    return made
