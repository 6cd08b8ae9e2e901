"""An API of gRPC or HTTP/2 is found by what its manifests say, and the sidecar speaks it on both sides."""

import copy
from typing import Any

import pytest
import yaml

from sidecar.injection.annotation import STATUS
from sidecar.injection.bundle import inject_bundle, uninject_bundle
from sidecar.injection.manifest import Injection, Mode, inject
from sidecar.injection.problem import CannotInject
from sidecar.injection.service_file import PROBE_VARIABLE, SERVICE_VARIABLE
from sidecar.injection.settings import InjectionSettings
from tests.injection.samples import container, deployment, files_of, http_port, pod, settings

GRPC = http_port(50051, "grpc")


def service(**port: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "orders"},
        "spec": {"selector": {"app": "accounts"}, "ports": [{"port": 80, "targetPort": 8080, **port}]},
    }


def file_of(made: dict[str, Any]) -> dict[str, Any]:
    found = yaml.safe_load(files_of(made)[SERVICE_VARIABLE])
    assert isinstance(found, dict)
    return found


def protocols(made: dict[str, Any]) -> tuple[list[str] | None, str | None]:
    """What clients are offered, and what the API is called in, where the file says so."""
    file = file_of(made)
    return file["listeners"][0].get("protocols"), file["upstream"].get("protocol")


BOTH = (["h2", "http/1.1"], "h2")
NEITHER = (None, None)


@pytest.mark.parametrize(
    ("one", "sign"),
    [
        (container("api", http_port(name="grpc")), "port grpc of container api"),
        (container("api", http_port(name="grpc-orders")), "port grpc-orders of container api"),
        (container("api", http_port(name="h2c")), "port h2c of container api"),
        (container("api", http_port(name="http2-api")), "port http2-api of container api"),
        (
            container("api", http_port(), readinessProbe={"grpc": {"port": 8080}}),
            "readinessProbe of container api",
        ),
    ],
)
def test_a_pod_that_says_http2_gets_it_on_both_sides_and_one_sentence(one: dict[str, Any], sign: str) -> None:
    result = inject(pod(one), settings())
    assert protocols(result.manifest) == BOTH
    assert result.notes[0] == (
        f"the API speaks gRPC or HTTP/2 ({sign} says so): clients are offered h2 and http/1.1, and the API is called"
        " in h2"
    )


@pytest.mark.parametrize(
    "one",
    [
        container("api", http_port()),
        container("api", http_port(name="grpc-web")),
        container("api", http_port(name="grpc-web-shop")),
        container("api", http_port(name="http2more")),
        container("api", http_port(), http_port(9000, "grpc")),
        container("api", http_port(), readinessProbe={"grpc": {"port": 9000}}),
    ],
)
def test_one_that_does_not_is_spoken_to_as_ever(one: dict[str, Any]) -> None:
    result = inject(pod(one), settings())
    assert protocols(result.manifest) == NEITHER
    assert "HTTP/2" not in "".join(result.notes)


def test_of_several_ports_the_one_of_grpc_is_the_apis_where_none_is_of_http() -> None:
    result = inject(pod(container("api", GRPC, http_port(9090, "metrics"))), settings())
    assert file_of(result.manifest)["upstream"] == {"url": "http://127.0.0.1:50051", "protocol": "h2"}
    with pytest.raises(CannotInject, match="declares 1, 2, 3"):
        inject(
            pod(container("api", http_port(1, "grpc"), http_port(2, "h2c"), http_port(3, "x"))), settings()
        )


@pytest.mark.parametrize(
    "port",
    [
        {"appProtocol": "kubernetes.io/h2c"},
        {"appProtocol": "grpc"},
        {"name": "grpc"},
        {"name": "grpc-orders"},
        {"targetPort": "http", "appProtocol": "kubernetes.io/h2c"},
        {"port": 8080, "targetPort": None, "appProtocol": "h2c"},
    ],
)
@pytest.mark.parametrize("version", ["1.29", "1.33"])
def test_a_service_says_it_too_and_its_port_says_tls_from_then_on(port: dict[str, Any], version: str) -> None:
    one = service(**port)
    one["spec"]["ports"] = [
        {key: value for key, value in each.items() if value is not None} for each in one["spec"]["ports"]
    ]
    chosen = settings(kubernetes=version)
    before = [deployment(pod()), one]
    bundle = inject_bundle(copy.deepcopy(before), chosen)
    made, led = bundle.manifests
    assert protocols(made["spec"]["template"]) == BOTH
    assert "of Service orders says so" in bundle.notes[0]
    assert led["spec"]["ports"][0].get("appProtocol") in {None, "https"}
    assert ("appProtocol" in led["spec"]["ports"][0]) == ("appProtocol" in port)
    assert inject_bundle(bundle.manifests, chosen).manifests == bundle.manifests
    assert list(uninject_bundle(bundle.manifests).manifests) == before


@pytest.mark.parametrize(
    "other",
    [
        service(targetPort=9000, appProtocol="grpc"),
        service(name="grpc-web"),
        service(appProtocol="grpc", protocol="UDP"),
        {**service(appProtocol="grpc"), "metadata": {"name": "orders", "namespace": "elsewhere"}},
        {**service(appProtocol="grpc"), "metadata": "none"},
        {**service(appProtocol="grpc"), "spec": {"selector": {"app": "accounts"}, "ports": 7}},
        {**service(appProtocol="grpc"), "spec": {"selector": {"app": "other"}, "ports": []}},
    ],
)
def test_a_service_that_leads_elsewhere_says_nothing_of_the_api(other: dict[str, Any]) -> None:
    made = inject_bundle([deployment(pod()), other], settings()).manifests[0]
    assert protocols(made["spec"]["template"]) == NEITHER


def test_what_was_found_by_a_service_is_remembered_where_the_service_is_not_at_hand() -> None:
    """The webhook sees the Pods of a Deployment that the command injected, and never a Service."""
    made = inject_bundle([deployment(pod()), service(appProtocol="grpc")], settings()).manifests[0]
    template = made["spec"]["template"]
    lone = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
    lone["metadata"]["name"] = "accounts"
    again = inject(lone, settings(image="registry.example/sidecar:2"), Mode.ASKED)
    assert protocols(again.manifest) == BOTH
    assert "an earlier injection says so" in "".join(again.notes)
    plain = inject_bundle([made, service()], settings()).manifests[0]
    assert protocols(plain["spec"]["template"]) == NEITHER, "a Service that is there knows better"


def test_a_record_that_says_anything_else_is_not_obeyed() -> None:
    made = inject(pod(), settings()).manifest
    text = made["metadata"]["annotations"][STATUS]
    made["metadata"]["annotations"][STATUS] = text.replace('"port":', '"upstream_protocol":"h3","port":')
    assert protocols(inject(made, settings()).manifest) == NEITHER


@pytest.mark.parametrize(
    ("chosen", "annotations", "expected"),
    [
        ({"upstream_protocol": "h2"}, {}, BOTH),
        ({}, {"upstream-protocol": "h2"}, BOTH),
        ({"protocols": ["h2"]}, {"upstream-protocol": "h2"}, (["h2"], "h2")),
        ({"protocols": ["h2", "http/1.1"]}, {}, (["h2", "http/1.1"], None)),
        ({"upstream_protocol": "h2"}, {"upstream-protocol": "http/1.1"}, NEITHER),
    ],
)
def test_operator_and_author_may_say_it_themselves(
    chosen: dict[str, Any], annotations: dict[str, str], expected: Any
) -> None:
    assert protocols(inject(pod(annotations=annotations), settings(**chosen)).manifest) == expected


def test_who_says_http1_to_an_api_of_grpc_is_told_what_fails() -> None:
    result = inject(pod(container("api", GRPC), annotations={"upstream-protocol": "http/1.1"}), settings())
    assert protocols(result.manifest) == NEITHER
    assert result.notes[0] == (
        "port grpc of container api says gRPC or HTTP/2, but upstream-protocol is http/1.1: gRPC calls fail"
    )


@pytest.mark.parametrize(
    ("one", "chosen", "annotations", "message"),
    [
        (container("api", GRPC), {"protocols": ["http/1.1"]}, {}, "its callers would be refused"),
        (
            container("api", http_port()),
            {"protocols": ["http/1.1"]},
            {"upstream-protocol": "h2"},
            "its callers would be refused",
        ),
        (
            container("api", http_port(), livenessProbe={"grpc": {"port": 8080}}),
            {},
            {"upstream-protocol": "http/1.1"},
            "livenessProbe of container api is a gRPC probe, which an API of http/1.1 does not answer",
        ),
        (
            container("api", GRPC, livenessProbe={"grpc": {"port": 50051, "service": "a b"}}),
            {},
            {},
            "a gRPC service with an invalid name: 'a b'",
        ),
    ],
)
def test_only_what_cannot_work_is_refused(
    one: dict[str, Any], chosen: dict[str, Any], annotations: dict[str, str], message: str
) -> None:
    with pytest.raises(CannotInject, match=message):
        inject(pod(one, annotations=annotations), settings(**chosen))


PROBED = container(
    "api",
    GRPC,
    startupProbe={"grpc": {"port": 50051}, "periodSeconds": 1},
    livenessProbe={"grpc": {"port": 50051, "service": "orders.v1.Orders"}, "timeoutSeconds": 3},
    readinessProbe={"grpc": {"port": 50051, "service": "orders.v1.Orders"}},
)


def probed(annotations: dict[str, str] | None = None, **changes: Any) -> Injection:
    return inject(pod(PROBED, annotations=annotations), settings(**changes))


def test_a_grpc_probe_asks_the_health_port_which_asks_the_api_and_nothing_becomes_public() -> None:
    """The kubelet's gRPC probes know neither TLS nor credentials (Kubernetes, "gRPC liveness probe")."""
    result = probed(public_probe_paths=[])
    api = result.manifest["spec"]["containers"][0]
    assert api["startupProbe"] == {"httpGet": {"path": "/grpcz", "port": 9902}, "periodSeconds": 1}
    asked = {"path": "/grpcz?service=orders.v1.Orders", "port": 9902}
    assert api["livenessProbe"] == {"httpGet": asked, "timeoutSeconds": 3}
    assert file_of(result.manifest)["health"] == {
        "address": "*:9902",
        "grpc_services": ["", "orders.v1.Orders"],
    }
    assert PROBE_VARIABLE not in files_of(result.manifest)
    assert [note for note in result.notes if "nothing becomes public" in note] == [
        f"{kind} of container api calls the sidecar's health port, which asks the API by gRPC; nothing becomes public"
        for kind in ("startupProbe", "livenessProbe", "readinessProbe")
    ]


def test_a_grpc_probe_of_another_port_stays() -> None:
    one = container("api", http_port(), readinessProbe={"grpc": {"port": 9000}})
    made = inject(pod(one), settings()).manifest
    assert made["spec"]["containers"][0]["readinessProbe"] == {"grpc": {"port": 9000}}
    assert "grpc_services" not in file_of(made)["health"]


def test_kept_probes_stay_and_the_reader_is_told_that_they_call_an_address_where_the_api_should_not_be() -> (
    None
):
    result = probed({"probes": "keep"})
    assert result.manifest["spec"]["containers"][0]["livenessProbe"] == PROBED["livenessProbe"]
    assert "grpc_services" not in file_of(result.manifest)["health"]
    said = "livenessProbe of container api stays: it calls the Pod's address, where an API on 127.0.0.1 does not answer"
    assert said in result.notes


def test_who_brings_a_service_file_is_told_what_it_must_say() -> None:
    notes = probed({"config-map": "mine"}).notes
    assert "the service file must offer h2 in `protocols` and have `upstream: {protocol: h2}`" in notes[0]
    assert notes[-1] == (
        'the service file must list `health: {grpc_services: ["", "orders.v1.Orders"]}` for the probes'
    )


@pytest.mark.parametrize("changes", [{}, {"kubernetes": "1.28"}, {"kubernetes": "1.30"}])
def test_taking_the_sidecar_out_puts_the_grpc_probes_back(changes: dict[str, Any]) -> None:
    before = [deployment(pod(PROBED)), service(targetPort="grpc", appProtocol="grpc")]
    chosen: InjectionSettings = settings(**changes)
    made = inject_bundle(copy.deepcopy(before), chosen).manifests
    assert list(made) != before
    restored = uninject_bundle(made).manifests
    assert list(restored) == before
    probe = restored[0]["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    assert list(probe) == ["grpc", "periodSeconds"]
