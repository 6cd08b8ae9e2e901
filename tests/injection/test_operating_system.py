"""Which Pods are meant for Windows nodes, and which are not although the word stands in them."""

from typing import Any

import pytest

from sidecar.injection.operating_system import is_for_windows

OPTIONS = {"windowsOptions": {"runAsUserName": "ContainerUser"}}


def affinity(*terms: object, kind: str = "requiredDuringSchedulingIgnoredDuringExecution") -> dict[str, Any]:
    return {"affinity": {"nodeAffinity": {kind: {"nodeSelectorTerms": list(terms)}}}}


def term(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {
        "matchExpressions": [
            {"key": "zone", "operator": "Exists"},
            {"key": key, "operator": operator, "values": list(values)},
        ]
    }


@pytest.mark.parametrize(
    "spec",
    [
        {"os": {"name": "windows"}},
        {"nodeSelector": {"kubernetes.io/os": "windows"}},
        {"nodeSelector": {"beta.kubernetes.io/os": "windows"}},
        {"nodeSelector": {"node.kubernetes.io/windows-build": "10.0.20348"}},
        {"securityContext": OPTIONS},
        {"containers": [{"name": "a"}, {"name": "b", "securityContext": OPTIONS}]},
        {"initContainers": [{"name": "a", "securityContext": OPTIONS}]},
        affinity(term("kubernetes.io/os", "In", "windows")),
        affinity(term("kubernetes.io/os", "In", "windows"), term("beta.kubernetes.io/os", "In", "windows")),
        affinity(term("node.kubernetes.io/windows-build", "Exists")),
        affinity(term("node.kubernetes.io/windows-build", "In", "10.0.17763")),
    ],
)
def test_pod_for_windows_is_known(spec: dict[str, Any]) -> None:
    assert is_for_windows(spec)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "linux", "team": "windows"}},
        {"os": None, "nodeSelector": None, "affinity": None, "securityContext": None},
        {"tolerations": [{"key": "os", "value": "windows"}]},
        {"securityContext": {"windowsOptions": {}}},
        affinity(),
        affinity(term("kubernetes.io/os", "In", "windows"), term("kubernetes.io/os", "In", "linux")),
        affinity(term("kubernetes.io/os", "In", "windows", "linux")),
        affinity(term("kubernetes.io/os", "NotIn", "windows")),
        affinity(term("node.kubernetes.io/windows-build", "DoesNotExist")),
        affinity("windows", {"matchExpressions": "windows"}),
        {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}},
        {"affinity": ["windows"]},
    ],
)
def test_pod_that_may_run_on_linux_is_not_taken_for_one(spec: dict[str, Any]) -> None:
    assert not is_for_windows(spec)
