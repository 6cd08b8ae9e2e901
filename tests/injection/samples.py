"""Pods and settings to start from; each test changes what it is about."""

from typing import Any

from sidecar.injection.annotation import PREFIX
from sidecar.injection.placement import CONTAINER
from sidecar.injection.settings import InjectionSettings

IMAGE = "registry.example/sidecar:1"


def settings(**changes: Any) -> InjectionSettings:
    return InjectionSettings.model_validate({"image": IMAGE, **changes})


def container(name: str = "api", *ports: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "image": f"registry.example/{name}:1", "ports": list(ports), **more}


def http_port(number: int = 8080, name: str = "http") -> dict[str, Any]:
    return {"name": name, "containerPort": number}


def pod(
    *containers: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "accounts",
            "annotations": {f"{PREFIX}{name}": value for name, value in (annotations or {}).items()},
        },
        "spec": {"containers": list(containers) or [container("api", http_port())], **spec},
    }


def deployment(template: dict[str, Any], name: str = "accounts") -> dict[str, Any]:
    body = {key: template[key] for key in ("metadata", "spec")}
    labels = {"app": name}
    body["metadata"] = {**body["metadata"], "labels": labels}
    del body["metadata"]["name"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": body},
    }


def sidecar_of(spec: dict[str, Any]) -> dict[str, Any]:
    """The one sidecar container of a Pod spec, wherever it is."""
    every = [*(spec.get("initContainers") or []), *spec["containers"]]
    (found,) = [one for one in every if one["name"] == CONTAINER]
    assert isinstance(found, dict)
    return found


def files_of(pod: dict[str, Any]) -> dict[str, str]:
    """The files that the injector wrote into the sidecar's environment, by variable, as the kubelet hands them on."""
    environment = sidecar_of(pod["spec"]).get("env") or []
    return {one["name"]: one["value"].replace("$$(", "$(") for one in environment}


def volume_of(spec: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in spec["volumes"] if one["name"] == name]
    assert isinstance(found, dict)
    return found
