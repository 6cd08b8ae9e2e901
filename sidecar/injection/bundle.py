"""Injects several manifests together: the workloads get the sidecar, and their Services are changed accordingly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.injection.manifest import inject, template_of, template_path, uninject
from sidecar.injection.problem import CannotInject
from sidecar.injection.protocol import led_names
from sidecar.injection.service import (
    Protected,
    ingress_notes,
    restored_service,
    rewire_service,
    service_ports,
)
from sidecar.injection.settings import InjectionSettings


@dataclass(frozen=True, slots=True)
class Bundle:
    """The manifests after injection, in the same order, and notes for the user."""

    manifests: tuple[Any, ...]
    notes: tuple[str, ...]


def inject_bundle(manifests: Sequence[Any], settings: InjectionSettings) -> Bundle:
    """Inject every workload that does not decline, and change the Services of these workloads.

    Documents that are not Kubernetes objects are returned unchanged. Raises `CannotInject` with the problems of all
    documents: either the whole bundle is changed or nothing.
    """
    protected: list[Protected] = []
    notes: list[str] = []
    problems: list[str] = []

    def workload(manifest: dict[str, Any]) -> dict[str, Any]:
        try:
            known = service_ports(services_before, *_selectable(manifest))
            done = inject(manifest, settings, service_ports=known)
        except CannotInject as error:
            problems.extend(f"{label(manifest)}: {problem}" for problem in error.problems)
            return manifest
        notes.extend(f"{label(manifest)}: {note}" for note in done.notes)
        if done.status is not None:
            namespace, labels = _selectable(done.manifest)
            names = led_names(template_of(done.manifest)["spec"], done.status.port)
            protected.append(Protected(namespace, labels, done.status, names))
        return done.manifest

    def surroundings(manifest: dict[str, Any]) -> dict[str, Any]:
        led = rewire_service(manifest, protected)
        if led.get("kind") == "Service" and any(one.selected_by(led) for one in protected):
            services.append(led)
        return led

    services: list[dict[str, Any]] = []
    services_before = [one for one in _flat(manifests) if one.get("kind") == "Service"]
    changed = [_each(manifest, workload) for manifest in manifests]
    changed = [_each(manifest, surroundings) for manifest in changed]
    if problems:
        raise CannotInject(*problems)

    def ingress(manifest: dict[str, Any]) -> dict[str, Any]:
        notes.extend(f"{label(manifest)}: {note}" for note in ingress_notes(manifest, services))
        return manifest

    for manifest in changed:
        _each(manifest, ingress)
    return Bundle(tuple(changed), tuple(notes))


def uninject_bundle(manifests: Sequence[Any]) -> Bundle:
    """Remove the sidecar from every workload, and restore the Services.

    Raises `CannotInject` with the problems of all documents.
    """
    notes: list[str] = []
    problems: list[str] = []

    def each(manifest: dict[str, Any]) -> dict[str, Any]:
        try:
            done = uninject(manifest)
        except CannotInject as error:
            problems.extend(f"{label(manifest)}: {problem}" for problem in error.problems)
            return manifest
        notes.extend(f"{label(manifest)}: {note}" for note in done.notes)
        return restored_service(done.manifest)

    changed = tuple(_each(manifest, each) for manifest in manifests)
    if problems:
        raise CannotInject(*problems)
    return Bundle(changed, tuple(notes))


def label(manifest: Mapping[str, Any]) -> str:
    """Identifies the object for the user: its kind and name."""
    metadata = manifest.get("metadata")
    found = metadata if isinstance(metadata, Mapping) else {}
    name = found.get("name") or found.get("generateName") or "without a name"
    return f"{manifest.get('kind', 'object')} {name}"


def _selectable(manifest: dict[str, Any]) -> tuple[str | None, Mapping[str, str]]:
    """Namespace and labels of the Pods of an object; no labels if it has none."""
    if template_path(manifest) is None:
        return None, {}
    own, pods = manifest.get("metadata"), template_of(manifest).get("metadata")
    namespace = own.get("namespace") if isinstance(own, Mapping) else None
    labels = pods.get("labels") if isinstance(pods, Mapping) else None
    return namespace, labels if isinstance(labels, Mapping) else {}


def _flat(manifests: Sequence[Any]) -> list[dict[str, Any]]:
    """All objects, including those in Lists."""
    found: list[dict[str, Any]] = []

    def keep(manifest: dict[str, Any]) -> dict[str, Any]:
        found.append(manifest)
        return manifest

    for manifest in manifests:
        _each(manifest, keep)
    return found


def _each(manifest: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Apply `change` to an object, or to every item of a List; an unchanged input is returned itself."""
    if not isinstance(manifest, dict):
        return manifest
    items = manifest.get("items")
    if (
        isinstance(manifest.get("kind"), str)
        and manifest["kind"].endswith("List")
        and isinstance(items, list)
    ):
        made = [_each(item, change) for item in items]
        same = all(new is old for new, old in zip(made, items, strict=True))
        return manifest if same else {**manifest, "items": made}
    return change(manifest)
