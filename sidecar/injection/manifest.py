"""Any Kubernetes object in, the same with the sidecar in its Pod template out."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.injection import annotation
from sidecar.injection.annotation import Status, Wishes
from sidecar.injection.placement import containers, has_sidecar, tcp_ports
from sidecar.injection.pod import inject_pod
from sidecar.injection.problem import CannotInject
from sidecar.injection.settings import InjectionSettings
from sidecar.injection.shape import check_metadata, check_pod

TEMPLATE_PATHS: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
COMMON_PATH = ("spec", "template")
_JOB_OF_A_CRONJOB = re.compile(r"-\d{8,10}$")


@dataclass(frozen=True, slots=True)
class Injection:
    """The manifest after the pass. `status` is `None` where there is no sidecar; unchanged manifests are
    the very object that came in.
    """

    manifest: dict[str, Any]
    status: Status | None
    notes: tuple[str, ...] = ()


def inject(manifest: dict[str, Any], settings: InjectionSettings, *, opt_in: bool) -> Injection:
    """Put the sidecar into the Pod (template) of `manifest`.

    With `opt_in` only a Pod that asks for it changes; without, any that does not decline. What has no Pod
    template, and what already has the sidecar, comes back as it was. Raises `CannotInject`.
    """
    path = template_path(manifest)
    if path is None:
        return Injection(manifest, None)
    template = _at(manifest, path)
    check_metadata(manifest.get("metadata"))
    check_pod(template)
    metadata = template.get("metadata") or {}
    if has_sidecar(template["spec"]):
        return Injection(manifest, annotation.status(metadata))
    asked = annotation.switch(metadata)
    if asked is False or (opt_in and asked is None):
        return Injection(manifest, None)
    if _is_silent_and_closed(template):
        return Injection(manifest, None, ("declares no port and does not ask: left as it is",))
    wanted = annotation.wishes(metadata)
    made = inject_pod(template, wanted, settings, workload=workload_name(manifest))
    return Injection(_replaced(manifest, path, made.pod), made.status, made.notes)


def template_path(manifest: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Where the Pod (template) of an object is, or `None` if it has none.

    Kinds that this project has never heard of count when they have a template with containers where
    Deployments have it.
    """
    kind = manifest.get("kind")
    if isinstance(kind, str) and kind in TEMPLATE_PATHS and "apiVersion" in manifest:
        return TEMPLATE_PATHS[kind]
    found = manifest.get("spec")
    template = found.get("template") if isinstance(found, Mapping) else None
    spec = template.get("spec") if isinstance(template, Mapping) else None
    return COMMON_PATH if isinstance(spec, Mapping) and "containers" in spec else None


def template_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The Pod (template) of an object that has one. Raises `CannotInject` for any other."""
    path = template_path(manifest)
    if path is None:
        raise CannotInject("the object has no Pod template")
    return _at(manifest, path)


def workload_name(manifest: Mapping[str, Any]) -> str | None:
    """The name a person knows the workload by: for a Pod that a controller made, the Deployment's, say."""
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
    """Whether a Pod neither asks for the sidecar nor offers anything to stand in front of."""
    metadata = template.get("metadata") or {}
    if annotation.switch(metadata) is True or annotation.wishes(metadata) != Wishes():
        return False
    return not any(tcp_ports(one) for one in containers(template["spec"]))


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
