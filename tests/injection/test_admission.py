"""Whatever an API server (or anyone) sends, the answer is whole."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.injection.admission import API_VERSION, BadReview, guard, review
from sidecar.injection.annotation import PREFIX, STATUS
from sidecar.injection.manifest import inject, template_of
from sidecar.injection.placement import has_sidecar
from tests.injection.reviews import (
    RESOURCES,
    UID,
    encoded,
    patched,
    pod_as_the_api_server_has_it,
    review_of,
)
from tests.injection.samples import settings, sidecar_of, volume_of
from tests.support.kubernetes import NEWEST, schema_errors

MANIFESTS = Path(__file__).parent / "manifests"


def answer(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The response to the review of one manifest, after checking the envelope."""
    before = copy.deepcopy(manifest)
    reply = review(encoded(review_of(manifest, **changes)), settings())
    assert reply["apiVersion"] == "admission.k8s.io/v1"
    assert reply["kind"] == "AdmissionReview"
    assert reply["response"]["uid"] == UID
    assert manifest == before
    response = reply["response"]
    assert isinstance(response, dict)
    return response


def workloads() -> list[dict[str, Any]]:
    """Every workload of the sample manifests, asking for the sidecar."""
    found = []
    for path in sorted(MANIFESTS.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document and document["kind"] in set(RESOURCES) - {"ConfigMap"}:
                template = template_of(document)
                metadata = template.setdefault("metadata", {})
                metadata.setdefault("annotations", {})["bound-token-sidecar/inject"] = "true"
                found.append(document)
    return found


def test_a_pod_of_a_deployment_gets_the_sidecar_and_its_deployments_secret() -> None:
    before = pod_as_the_api_server_has_it()
    after = patched(before, answer(before))
    assert sidecar_of(after["spec"])["restartPolicy"] == "Always"
    assert volume_of(after["spec"], "bound-token-tls")["secret"]["secretName"] == "accounts-tls"
    assert after["spec"]["volumes"][0] == before["spec"]["volumes"][0]
    assert schema_errors(after, NEWEST) == []


def test_the_pod_that_the_first_answer_made_is_left_as_it_is() -> None:
    before = pod_as_the_api_server_has_it()
    assert answer(patched(before, answer(before))) == {"uid": UID, "allowed": True}


@pytest.mark.parametrize(
    "manifest",
    [pytest.param(one, id=one["kind"] + "-" + str(index)) for index, one in enumerate(workloads())],
)
def test_every_workload_is_patched_whole_or_refused_with_a_reason(manifest: dict[str, Any]) -> None:
    response = answer(manifest)
    if response["allowed"]:
        after = patched(manifest, response)
        assert has_sidecar(template_of(after)["spec"])
        assert schema_errors(after, NEWEST) == []
    else:
        assert "patch" not in response
        assert manifest["metadata"]["name"] == "payments-worker"
        assert "declares no TCP port" in response["status"]["message"]


def test_a_pod_on_the_hosts_network_is_refused_with_a_clear_message() -> None:
    response = answer(pod_as_the_api_server_has_it(hostNetwork=True))
    assert response["allowed"] is False
    assert response["status"]["code"] == 422
    assert response["status"]["message"].startswith(
        "bound-token-sidecar cannot protect this Pod: hostNetwork"
    )


def test_a_pod_that_does_not_ask_is_allowed_as_it_is() -> None:
    silent = pod_as_the_api_server_has_it(hostNetwork=True)
    del silent["metadata"]["annotations"]
    assert answer(silent) == {"uid": UID, "allowed": True}


def test_notes_become_warnings_that_kubectl_shows() -> None:
    open_port = pod_as_the_api_server_has_it()
    open_port["spec"]["containers"][0]["ports"].append({"containerPort": 9090, "name": "metrics"})
    assert answer(open_port)["warnings"] == [
        (
            "bound-token-sidecar: livenessProbe of container api makes GET /healthz public"
            " to everyone who can reach the Service"
        ),
        "bound-token-sidecar: port 9090 of container api is not protected by the sidecar",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"operation": "CONNECT", "object": {"kind": "PodExecOptions"}},
        {"subResource": "ephemeralcontainers"},
        {"object": None},
        {"object": [1]},
    ],
)
def test_anything_but_the_creation_of_an_object_is_allowed_as_it_is(changes: dict[str, Any]) -> None:
    assert answer(pod_as_the_api_server_has_it(), **changes) == {"uid": UID, "allowed": True}


def test_an_object_without_a_pod_is_allowed_as_it_is() -> None:
    config_map = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}, "data": {"a": "b"}}
    assert answer(config_map) == {"uid": UID, "allowed": True}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"null", "not an AdmissionReview"),
        (b"[]", "not an AdmissionReview"),
        (b'{"kind":"Pod","apiVersion":"v1"}', "not an AdmissionReview"),
        (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1"}', "only admission.k8s.io/v1"),
        (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}', "no request with a uid"),
        (
            b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{}}',
            "no request with a uid",
        ),
        (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":7}}', "no request"),
    ],
)
def test_what_is_not_an_admission_review_is_refused_as_such(body: bytes, message: str) -> None:
    with pytest.raises(BadReview, match=message):
        review(body, settings())


def test_an_object_nested_too_deeply_to_copy_is_refused_as_such() -> None:
    deep = pod_as_the_api_server_has_it()
    inner: Any = deep["spec"]
    for _ in range(700):
        inner["x"] = {}
        inner = inner["x"]
    with pytest.raises(BadReview, match="nested too deeply"):
        review(encoded(review_of(deep)), settings())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["containers", "initContainers", "volumes", "nodeSelector", "os", "hostNetwork", "restartPolicy"]


@given(st.dictionaries(st.sampled_from([*FIELDS, "terminationGracePeriodSeconds"]), JSON, min_size=1), JSON)
def test_no_pod_however_odd_gets_more_than_a_yes_a_no_or_a_whole_patch(
    spec: dict[str, Any], api: Any
) -> None:
    odd = pod_as_the_api_server_has_it(**spec)
    if "containers" not in spec:
        odd["spec"]["containers"][0] |= {"ports": api, "livenessProbe": api}
    response = review(encoded(review_of(odd)), settings())["response"]
    if "patch" in response:
        assert has_sidecar(patched(json.loads(json.dumps(odd)), response)["spec"])
    else:
        assert response["allowed"] is False
        assert response["status"]["message"]


def update(
    change: Callable[[dict[str, Any]], object], before: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The answer of the validating webhook to a change of a Pod that has the sidecar."""
    old = before or inject(pod_as_the_api_server_has_it(), settings()).manifest
    new = copy.deepcopy(old)
    change(new)
    request = {"uid": "u", "operation": "UPDATE", "object": new, "oldObject": old}
    body = {"apiVersion": API_VERSION, "kind": "AdmissionReview", "request": request}
    response = guard(json.dumps(body).encode())["response"]
    assert isinstance(response, dict)
    return response


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda pod: sidecar_of(pod["spec"]).update(image="evil.example/x:1"), "the sidecar's container"),
        (lambda pod: pod["metadata"]["annotations"].pop(STATUS), f"annotation {STATUS}"),
        (lambda pod: pod["metadata"]["annotations"].update({f"{PREFIX}inject": "false"}), "annotation"),
        (lambda pod: pod["metadata"]["labels"].pop(f"{PREFIX}injected"), f"label {PREFIX}injected"),
    ],
)
def test_what_protects_a_pod_stays_as_it_is_for_its_life(
    change: Callable[[dict[str, Any]], object], named: str
) -> None:
    response = update(change)
    assert response["allowed"] is False
    assert response["status"]["code"] == 403
    assert named in response["status"]["message"]


@pytest.mark.parametrize(
    "change",
    [
        lambda pod: pod["spec"]["containers"][0].update(image="registry.example/api:2"),
        lambda pod: pod["metadata"]["annotations"].update(mine="yes"),
        lambda pod: pod["metadata"].update(finalizers=["a"]),
    ],
)
def test_everything_else_of_a_pod_may_change(change: Callable[[dict[str, Any]], object]) -> None:
    assert update(change) == {"uid": "u", "allowed": True}


def test_a_pod_without_the_sidecar_is_nobodys_business() -> None:
    assert update(
        lambda pod: pod["metadata"]["annotations"].update(x="y"), pod_as_the_api_server_has_it()
    ) == {
        "uid": "u",
        "allowed": True,
    }


def test_the_guard_answers_only_updates_of_objects() -> None:
    for request in ({"operation": "CREATE", "object": {}}, {"operation": "UPDATE", "object": None}):
        body = {"apiVersion": API_VERSION, "kind": "AdmissionReview", "request": {"uid": "u", **request}}
        assert guard(json.dumps(body).encode())["response"] == {"uid": "u", "allowed": True}
