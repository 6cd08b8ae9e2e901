"""Callers of a Service notice nothing but mTLS: the port keeps its name and its number."""

import copy
from typing import Any

import pytest

from sidecar.injection.bundle import inject_bundle
from sidecar.injection.problem import CannotInject
from tests.injection.samples import container, deployment, http_port, pod, settings


def service(
    *ports: dict[str, Any], selector: dict[str, str] | None = None, **metadata: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "accounts", **metadata},
        "spec": {"selector": {"app": "accounts"} if selector is None else selector, "ports": list(ports)},
    }


def after(one: dict[str, Any], workload: dict[str, Any] | None = None) -> dict[str, Any]:
    """The Service after a pass over it and a protected workload, in both orders."""
    protected = workload or deployment(pod())
    first = inject_bundle([one, protected], settings()).manifests[0]
    last = inject_bundle([protected, one], settings()).manifests[1]
    assert first == last
    assert isinstance(first, dict)
    return first


@pytest.mark.parametrize(
    ("before", "target"),
    [
        ({"name": "http", "port": 80, "targetPort": 8080}, 8443),
        ({"name": "http", "port": 8080}, 8443),
        ({"name": "http", "port": 80, "targetPort": "http"}, "http"),
        ({"name": "metrics", "port": 9090, "targetPort": 9090}, 9090),
        ({"name": "dns", "port": 8080, "protocol": "UDP", "targetPort": 8080}, 8080),
    ],
)
def test_only_where_a_port_leads_changes(before: dict[str, Any], target: int | str) -> None:
    port = after(service(before))["spec"]["ports"][0]
    assert port == {**before, "targetPort": target}


def test_a_port_that_says_it_speaks_http_says_https() -> None:
    port = after(service({"port": 80, "targetPort": 8080, "appProtocol": "http"}))["spec"]["ports"][0]
    assert port["appProtocol"] == "https"


@pytest.mark.parametrize(
    "other",
    [
        service({"port": 8080}, selector={"app": "other"}),
        service({"port": 8080}, selector={}),
        service({"port": 8080}, namespace="elsewhere"),
        {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": "many"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}},
        "not an object",
        None,
    ],
)
def test_a_service_of_something_else_is_left_alone(other: Any) -> None:
    kept = copy.deepcopy(other)
    assert inject_bundle([other, deployment(pod())], settings()).manifests[0] is other
    assert other == kept


def test_a_workload_injected_earlier_still_leads_its_services() -> None:
    earlier = inject_bundle([deployment(pod())], settings()).manifests[0]
    assert after(service({"port": 8080}), earlier)["spec"]["ports"] == [{"port": 8080, "targetPort": 8443}]


def test_a_list_is_changed_item_by_item() -> None:
    items = [service({"port": 8080}), deployment(pod())]
    one_list = {"apiVersion": "v1", "kind": "List", "items": items}
    (made,) = inject_bundle([one_list], settings()).manifests
    assert made["items"] == list(inject_bundle(items, settings()).manifests)
    assert inject_bundle([made], settings()).manifests[0] is made


def test_the_problems_of_all_workloads_are_told_at_once_and_by_name() -> None:
    bad = [
        deployment(pod(hostNetwork=True), "one"),
        deployment(pod(container("a", http_port()), container("b", http_port())), "two"),
    ]
    with pytest.raises(CannotInject) as refusal:
        inject_bundle(bad, settings())
    assert [problem.partition(":")[0] for problem in refusal.value.problems] == [
        "Deployment one",
        "Deployment two",
    ]
