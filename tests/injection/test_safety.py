"""What would make people believe in a protection that is not there is refused, or said in one sentence."""

from typing import Any

import pytest

from sidecar.injection.bundle import inject_bundle
from sidecar.injection.manifest import Mode, inject
from sidecar.injection.placement import CONTAINER
from sidecar.injection.problem import CannotInject
from sidecar.injection.settings import InjectionSettings
from tests.injection.samples import container, deployment, http_port, pod, settings


def notes(manifest: dict[str, Any], chosen: InjectionSettings | None = None) -> str:
    return "\n".join(inject(manifest, chosen or settings()).notes)


@pytest.mark.parametrize(
    "more",
    [
        {"args": ["--bind", "0.0.0.0:8080"]},
        {"args": ["serve", "--host=0.0.0.0"]},
        {"command": ["gunicorn", "-b", "0.0.0.0:8080", "app"]},
        {"args": ["--listen", "[::]:8080"]},
        {"args": ["--address=*:8080"]},
        {"command": ["sh", "-c", "exec uvicorn app:app --host 0.0.0.0 --port 8080"]},
        {"command": ["./api", "0.0.0.0:8080"]},
        {"env": [{"name": "HOST", "value": "0.0.0.0"}]},
        {"env": [{"name": "SERVER_ADDRESS", "value": "::"}]},
        {"env": [{"name": "ASPNETCORE_URLS", "value": "http://*:8080"}]},
    ],
)
def test_an_api_told_to_listen_on_all_addresses_is_named(more: dict[str, Any]) -> None:
    assert "is told to listen on all addresses (" in notes(pod(container("api", http_port(), **more)))


@pytest.mark.parametrize(
    "more",
    [
        {"args": ["--bind", "127.0.0.1:8080"]},
        {"args": ["--host=localhost"]},
        {"args": ["--glob", "*.txt"]},
        {"args": ["--version=10.0.0.0"]},
        {"env": [{"name": "HOST", "value": "127.0.0.1"}, {"name": "NOTE", "value": "0.0.0.0"}]},
        {"env": [{"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]},
    ],
)
def test_an_api_on_loopback_is_not(more: dict[str, Any]) -> None:
    assert notes(pod(container("api", http_port(), **more))) == ""


def test_the_address_of_another_container_is_none_of_the_apis() -> None:
    other = container("metrics", args=["--bind", "0.0.0.0:9100"])
    assert "all addresses" not in notes(pod(container("api", http_port()), other))


@pytest.mark.parametrize(
    ("annotations", "labels", "expected"),
    [
        ({"sidecar.istio.io/inject": "true"}, {}, "Istio"),
        ({}, {"sidecar.istio.io/inject": "true"}, "Istio"),
        ({}, {"istio.io/rev": "stable"}, "Istio"),
        ({"linkerd.io/inject": "enabled"}, {}, "Linkerd"),
        (
            {
                "sidecar.istio.io/inject": "true",
                "traffic.sidecar.istio.io/excludeInboundPorts": "9090,8443",
            },
            {},
            None,
        ),
        ({"linkerd.io/inject": "enabled", "config.linkerd.io/skip-inbound-ports": "8000-9000"}, {}, None),
        ({"sidecar.istio.io/inject": "false"}, {}, None),
    ],
)
def test_a_mesh_that_would_take_the_connections_first_is_named_with_its_cure(
    annotations: dict[str, str], labels: dict[str, str], expected: str | None
) -> None:
    manifest = pod()
    manifest["metadata"] |= {"annotations": annotations, "labels": labels}
    said = notes(manifest)
    if expected is None:
        assert said == ""
    else:
        assert said.startswith(expected)
        assert '"8443"' in said


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("bound-token-sidecar:1", "docker.io/library/bound-token-sidecar:1"),
        ("team/sidecar:1", "docker.io/team/sidecar:1"),
        ("registry.example/sidecar:1", None),
        ("localhost/sidecar:1", None),
        ("registry:5000/sidecar", None),
    ],
)
def test_an_image_without_a_registry_is_told_apart_from_one_of_your_own(image: str, full: str | None) -> None:
    said = notes(pod(), settings(image=image))
    assert said == ("" if full is None else f"image {image} has no registry: a node uses {full}")


def service(**port: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "accounts"},
        "spec": {"selector": {"app": "accounts"}, "ports": [{"port": 80, "targetPort": 8080, **port}]},
    }


def ingress(**changes: Any) -> dict[str, Any]:
    backend = {"service": {"name": "accounts", "port": {"number": 80}}}
    spec = {
        "tls": [{"hosts": ["a.example"]}],
        "rules": [{"http": {"paths": [{"path": "/", "backend": backend}]}}],
    }
    metadata = {"name": "front", "annotations": changes.pop("annotations", {})}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata,
        "spec": {**spec, **changes},
    }


def test_an_ingress_that_ends_tls_in_front_is_named() -> None:
    bundle = inject_bundle([ingress(), deployment(pod()), service()], settings())
    assert [
        one for one in bundle.notes if one.startswith("Ingress front: ends TLS in front of Service accounts")
    ]


@pytest.mark.parametrize(
    "other",
    [
        ingress(tls=None),
        ingress(annotations={"nginx.ingress.kubernetes.io/ssl-passthrough": "true"}),
        ingress(rules=[], defaultBackend={"service": {"name": "another"}}),
    ],
)
def test_an_ingress_that_does_not_is_left_unsaid(other: dict[str, Any]) -> None:
    assert not inject_bundle([deployment(pod()), service(), other], settings()).notes


def test_a_container_that_carries_the_sidecars_name_does_not_switch_injection_off_silently() -> None:
    decoy = pod(container("api", http_port()), container(CONTAINER), annotations={"inject": "true"})
    for mode in (Mode.ASKED, Mode.ENFORCED):
        with pytest.raises(CannotInject, match="any container can have this name"):
            inject(decoy, settings(), mode)


def test_a_pod_injected_elsewhere_gets_the_sidecar_of_the_cluster() -> None:
    elsewhere = inject(pod(), settings(image="evil.example/decoy:1")).manifest
    assert inject(elsewhere, settings(), Mode.ASKED).manifest == inject(pod(), settings()).manifest


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (pod(annotations={"inject": "false"}), "a Pod cannot decline in an enforcing namespace"),
        (pod(annotations={"policies": "mine"}), "policies cannot be set by a Pod here"),
        (pod(annotations={"upstream-port": "1"}), "upstream-port cannot be set by a Pod here"),
        (pod(container("worker")), "it declares no port"),
    ],
)
def test_in_an_enforcing_namespace_the_author_of_a_pod_chooses_nothing(
    manifest: dict[str, Any], message: str
) -> None:
    with pytest.raises(CannotInject, match=message):
        inject(manifest, settings(), Mode.ENFORCED)


def test_in_an_enforcing_namespace_a_pod_gets_the_sidecar_unasked() -> None:
    assert inject(pod(), settings(), Mode.ENFORCED).status is not None
