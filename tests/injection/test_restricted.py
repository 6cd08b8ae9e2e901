"""The container the injector adds passes the "restricted" Pod security standard, and asks for little."""

from typing import Any

import pytest

from sidecar.injection.manifest import inject
from tests.injection.samples import pod, settings, sidecar_of
from tests.support.pod_security import restricted_violations

RESTRICTED_POD = {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}}


@pytest.mark.parametrize("version", ["1.25", "1.29", "1.37"])
def test_the_sidecar_passes_the_restricted_standard(version: str) -> None:
    spec = inject(pod(), settings(kubernetes=version)).manifest["spec"]
    only_ours = {**RESTRICTED_POD, "containers": [sidecar_of(spec)], "volumes": spec["volumes"]}
    assert restricted_violations(only_ours) == []


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ({"privileged": True}, "privileged"),
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation"),
        ({"runAsUser": 0}, "runAsUser"),
        ({"capabilities": {"drop": []}}, "capabilities"),
        ({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}, "capabilities"),
        ({"seccompProfile": {"type": "Unconfined"}}, "seccompProfile"),
    ],
)
def test_the_check_itself_sees_what_the_standard_forbids(change: dict[str, Any], violation: str) -> None:
    found = sidecar_of(inject(pod(), settings()).manifest["spec"])
    worse = {**found, "securityContext": {**found["securityContext"], **change}}
    told = restricted_violations({**RESTRICTED_POD, "containers": [worse]})
    assert any(violation in one for one in told)


def test_the_sidecar_has_requests_a_memory_limit_and_all_three_probes() -> None:
    found = sidecar_of(inject(pod(), settings()).manifest["spec"])
    assert found["resources"] == {
        "requests": {"cpu": "50m", "memory": "96Mi"},
        "limits": {"memory": "256Mi"},
    }
    assert [
        found[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    ] == [
        "/startupz",
        "/livez",
        "/readyz",
    ]
