"""The "restricted" Pod security standard, as far as a manifest shows it.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, field by field.
"""

from collections.abc import Iterator, Mapping
from typing import Any

ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
PROFILES = {"RuntimeDefault", "Localhost"}


def restricted_violations(spec: Mapping[str, Any]) -> list[str]:
    """One sentence for each field of a Pod spec that the standard forbids."""
    return list(_violations(spec))


def _violations(spec: Mapping[str, Any]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is set"
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds <= ALLOWED_VOLUMES:
            yield f"volume {volume['name']} is of kind {kinds}"
    pod_context = spec.get("securityContext") or {}
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or []:
            for violation in _container_violations(container, pod_context):
                yield f"{container['name']}: {violation}"


def _container_violations(container: Mapping[str, Any], pod_context: Mapping[str, Any]) -> Iterator[str]:
    context = container.get("securityContext") or {}
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if not context.get("runAsNonRoot", pod_context.get("runAsNonRoot")):
        yield "runAsNonRoot is not true"
    if context.get("runAsUser", pod_context.get("runAsUser", 1)) == 0:
        yield "runAsUser is 0"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield "capabilities are not all dropped"
    if set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    profile = context.get("seccompProfile", pod_context.get("seccompProfile")) or {}
    if profile.get("type") not in PROFILES:
        yield "seccompProfile is not RuntimeDefault or Localhost"
    if context.get("procMount", "Default") != "Default":
        yield "procMount is not Default"
    if any("hostPort" in port for port in container.get("ports") or []):
        yield "a hostPort is used"
