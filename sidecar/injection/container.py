"""The sidecar's container and volumes."""

from collections.abc import Mapping
from typing import Any

from sidecar.injection import annotation
from sidecar.injection.annotation import Wishes
from sidecar.injection.placement import CONTAINER, VOLUME_PREFIX
from sidecar.injection.problem import CannotInject
from sidecar.injection.service_file import (
    CLIENT_CA_DIRECTORY,
    CLIENTS_DIRECTORY,
    DPOP_DIRECTORY,
    POLICY_DIRECTORY,
    PROXY_CA_DIRECTORY,
    SERVICE_DIRECTORY,
    SERVICE_FILE,
    SERVICE_VARIABLE,
    STATE_DIRECTORY,
    TLS_DIRECTORY,
)
from sidecar.injection.settings import ClientCa, InjectionSettings

PORT_NAME = "bound-token"
HEALTH_PORT_NAME = "bound-health"
START_SECONDS = 60
SECRET_MODE = 0o440
IN_MEMORY = {"medium": "Memory", "sizeLimit": "16Mi"}
"""A volume that exists as long as the Pod, and does not prevent the cluster autoscaler from moving the Pod."""


def container(
    wanted: Wishes,
    settings: InjectionSettings,
    port_entries: list[dict[str, Any]],
    files: Mapping[str, str],
) -> dict[str, Any]:
    """The container, valid under the "restricted" Pod security standard; native ones have `restartPolicy`.

    `files` are the generated files, by the environment variable that contains each; empty if the Pod has its own
    service file.
    """
    service = f"env:{SERVICE_VARIABLE}" if files else f"{SERVICE_DIRECTORY}/{SERVICE_FILE}"
    body: dict[str, Any] = {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": ["run", "--config", service],
        "ports": [
            *port_entries,
            {"name": HEALTH_PORT_NAME, "containerPort": settings.health_port, "protocol": "TCP"},
        ],
        **_probes(settings.health_port),
        "resources": _resources(settings),
        "securityContext": _security_context(wanted, settings),
        "volumeMounts": _mounts(wanted, settings),
    }
    environment = {**settings.env, **files}
    if environment:
        body["env"] = [{"name": name, "value": _literal(value)} for name, value in environment.items()]
    if settings.is_native:
        body["restartPolicy"] = "Always"
    if settings.pre_stop_seconds:
        body["lifecycle"] = {"preStop": _sleep(settings)}
    return body


def _literal(value: str) -> str:
    """Escape a value: the kubelet expands `$(NAME)` in a container's environment, and `$$` means one `$`."""
    return value.replace("$(", "$$(")


def volumes(wanted: Wishes, settings: InjectionSettings, *, workload: str | None) -> list[dict[str, Any]]:
    """The volumes that the container mounts, without one that the Pod already has."""
    own = {"name": f"{VOLUME_PREFIX}service", "configMap": {"name": wanted.config_map}}
    made = [
        *([own] if wanted.config_map is not None else []),
        {"name": f"{VOLUME_PREFIX}policies", "configMap": {"name": wanted.policies or settings.policies}},
        *({"name": name, "emptyDir": dict(IN_MEMORY)} for name, _ in _written(settings)),
    ]
    tls = _tls_source(wanted, settings, workload)
    if tls is not None:
        made.append({"name": f"{VOLUME_PREFIX}tls", **tls})
    made += [{"name": name, **_authority_source(ca)} for name, _, ca in _authorities(settings)]
    sources = _dpop_sources(settings)
    if sources:
        made.append(
            {"name": f"{VOLUME_PREFIX}dpop", "projected": {"defaultMode": SECRET_MODE, "sources": sources}}
        )
    clients = clients_secret(wanted, settings)
    if clients is not None:
        secret = {"secretName": clients, "defaultMode": SECRET_MODE}
        made.append({"name": f"{VOLUME_PREFIX}clients", "secret": secret})
    return made


def clients_secret(wanted: Wishes, settings: InjectionSettings) -> str | None:
    """The Secret with the clients of a Pod that is an authorization server (RFC 8705 §2); None for any other Pod.

    Raises `CannotInject` if the Pod names one that would not be used.
    """
    server = settings.authorization_server
    if wanted.clients_secret is not None and server is None and wanted.config_map is None:
        raise CannotInject(
            f"annotation {annotation.PREFIX}clients-secret: the injector has no authorization_server settings for it;"
            f" bring a service file with annotation {annotation.PREFIX}config-map"
        )
    return wanted.clients_secret or (server.clients_secret if server is not None else None)


def _authorities(settings: InjectionSettings) -> list[tuple[str, str, ClientCa]]:
    """The mounted authorities: name of the volume, mount path, and source."""
    kinds = [
        ("client-ca", CLIENT_CA_DIRECTORY, settings.client_ca),
        ("proxy-ca", PROXY_CA_DIRECTORY, settings.proxy_ca),
    ]
    return [
        (f"{VOLUME_PREFIX}{name}", place, ca)
        for name, place, ca in kinds
        if ca is not None and not ca.tls_volume
    ]


def _authority_source(ca: ClientCa) -> dict[str, Any]:
    if ca.config_map is not None:
        return {"configMap": {"name": ca.config_map}}
    # Only the certificate: the Secret of an authority may also contain its key.
    return {"secret": {"secretName": ca.secret, "items": [{"key": ca.file, "path": ca.file}]}}


def _dpop_sources(settings: InjectionSettings) -> list[dict[str, Any]]:
    """The Secrets for DPoP that replicas share."""
    if settings.dpop is None:
        return []
    named = [(settings.dpop.nonce_key_secret, "nonce-key"), (settings.dpop.replay_secret, "url")]
    return [
        {"secret": {"name": name, "items": [{"key": key, "path": key}]}}
        for name, key in named
        if name is not None
    ]


def _probes(port: int) -> dict[str, Any]:
    return {
        "startupProbe": {
            "httpGet": {"path": "/startupz", "port": port},
            "periodSeconds": 1,
            "failureThreshold": START_SECONDS,
        },
        "livenessProbe": {
            "httpGet": {"path": "/livez", "port": port},
            "periodSeconds": 10,
            "failureThreshold": 3,
        },
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": port},
            "periodSeconds": 5,
            "failureThreshold": 2,
        },
    }


def _security_context(wanted: Wishes, settings: InjectionSettings) -> dict[str, Any]:
    group = _group(wanted, settings)
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        **({} if settings.user is None else {"runAsUser": settings.user}),
        **({} if group is None else {"runAsGroup": group}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _tls_source(wanted: Wishes, settings: InjectionSettings, workload: str | None) -> dict[str, Any] | None:
    source = settings.server_certificate
    secret = wanted.tls_secret or source.secret
    if secret is not None:
        if "{name}" in secret and workload is None:
            raise CannotInject(
                "the Pod has no name from which the name of its certificate's Secret follows; set annotation"
                f" {annotation.PREFIX}tls-secret"
            )
        name = secret.replace("{name}", workload or "")
        return {"secret": {"secretName": name, "defaultMode": SECRET_MODE}}
    if source.csi is not None:
        csi = {"driver": source.csi.driver, "readOnly": True}
        attributes = source.csi.attributes
        return {"csi": {**csi, "volumeAttributes": dict(attributes)} if attributes else csi}
    return None


def _group(wanted: Wishes, settings: InjectionSettings) -> int | None:
    """The group that may read the private key; None: the cluster chooses it, with the user (OpenShift assigns each
    namespace a range, and its Pods an fsGroup that owns the files of their Secrets).

    The kubelet gives a Secret's files to root:root, or to the Pod's fsGroup, of which every container is a member.
    With group 0 the sidecar can read both kinds and others cannot. The injector does not set a Pod's fsGroup, because
    that changes the owner of the API's volumes. CSI drivers get their own group.
    """
    if settings.group is not None:
        return settings.group
    if settings.user is None:
        return None
    if wanted.tls_secret is not None or settings.server_certificate.secret is not None:
        return 0
    if clients_secret(wanted, settings) is not None:
        raise CannotInject(
            "the injector's group must be one that may read both the server certificate and the Secret of clients"
        )
    return settings.user


def _mounts(wanted: Wishes, settings: InjectionSettings) -> list[dict[str, Any]]:
    existing = settings.server_certificate.volume if wanted.tls_secret is None else None
    places = [
        *([(f"{VOLUME_PREFIX}service", SERVICE_DIRECTORY)] if wanted.config_map is not None else []),
        (f"{VOLUME_PREFIX}policies", POLICY_DIRECTORY),
        (existing or f"{VOLUME_PREFIX}tls", TLS_DIRECTORY),
    ]
    places += [(name, place) for name, place, _ in _authorities(settings)]
    if _dpop_sources(settings):
        places.append((f"{VOLUME_PREFIX}dpop", DPOP_DIRECTORY))
    if clients_secret(wanted, settings) is not None:
        places.append((f"{VOLUME_PREFIX}clients", CLIENTS_DIRECTORY))
    return [
        *({"name": name, "mountPath": path, "readOnly": True} for name, path in places),
        *({"name": name, "mountPath": path} for name, path in _written(settings)),
    ]


def _written(settings: InjectionSettings) -> list[tuple[str, str]]:
    """The volumes that the sidecar writes to, since its root is read-only: name and mount path."""
    places = [(f"{VOLUME_PREFIX}tmp", "/tmp")]  # noqa: S108  # the container's own, in memory
    if settings.keep_issuer_keys:
        places.append((f"{VOLUME_PREFIX}state", STATE_DIRECTORY))
    return places


def _resources(settings: InjectionSettings) -> dict[str, Any]:
    wanted = settings.resources
    limits = {"memory": wanted.memory_limit}
    if wanted.cpu_limit is not None:
        limits["cpu"] = wanted.cpu_limit
    return {"requests": {"cpu": wanted.cpu_request, "memory": wanted.memory_request}, "limits": limits}


def _sleep(settings: InjectionSettings) -> dict[str, Any]:
    """Keep serving while endpoints are removed. The image has no shell, but it has Python."""
    seconds = settings.pre_stop_seconds
    if settings.has_sleep_action:
        return {"sleep": {"seconds": seconds}}
    command = ["/opt/sidecar/bin/python", "-c", f"import time; time.sleep({seconds})"]
    return {"exec": {"command": command}}
