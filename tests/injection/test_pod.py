"""What becomes of a Pod: where the sidecar goes, which port it takes over, and what makes it impossible."""

import copy
from typing import Any

import pytest
import yaml

from sidecar.injection import annotation
from sidecar.injection.manifest import Injection, Mode, inject
from sidecar.injection.placement import CONTAINER
from sidecar.injection.problem import CannotInject
from sidecar.injection.service_file import PROBE_VARIABLE, SERVICE_VARIABLE
from sidecar.injection.settings import InjectionSettings
from tests.injection.samples import container, files_of, http_port, pod, settings, sidecar_of, volume_of


def injected(manifest: dict[str, Any], chosen: InjectionSettings | None = None) -> Injection:
    return inject(manifest, chosen or settings())


def spec_of(manifest: dict[str, Any], chosen: InjectionSettings | None = None) -> dict[str, Any]:
    spec = injected(manifest, chosen).manifest["spec"]
    assert isinstance(spec, dict)
    return spec


def written(manifest: dict[str, Any], name: str) -> Any:
    return yaml.safe_load(files_of(injected(manifest).manifest)[name])


def problems(manifest: dict[str, Any], chosen: InjectionSettings | None = None) -> str:
    with pytest.raises(CannotInject) as refusal:
        injected(manifest, chosen)
    return str(refusal.value)


def test_the_manifest_that_comes_in_is_never_changed() -> None:
    before = pod(container("api", http_port(), livenessProbe={"httpGet": {"path": "/h", "port": "http"}}))
    kept = copy.deepcopy(before)
    injected(before)
    assert before == kept


def test_the_sidecar_is_a_native_one_after_the_init_containers_that_were_there() -> None:
    spec = spec_of(pod(initContainers=[{"name": "migrate", "image": "registry.example/m:1"}]))
    assert [one["name"] for one in spec["initContainers"]] == ["migrate", CONTAINER]
    assert spec["initContainers"][1]["restartPolicy"] == "Always"
    assert [one["name"] for one in spec["containers"]] == ["api"]


def test_before_1_29_the_sidecar_is_an_ordinary_container() -> None:
    spec = spec_of(pod(), settings(kubernetes="1.28"))
    assert [one["name"] for one in spec["containers"]] == ["api", CONTAINER]
    assert "restartPolicy" not in sidecar_of(spec)
    assert "initContainers" not in spec


def test_null_lists_as_kubectl_prints_them_are_lists() -> None:
    spec = spec_of(pod(initContainers=None, volumes=None))
    assert sidecar_of(spec)["name"] == CONTAINER
    assert volume_of(spec, "bound-token-policies")


def test_the_sidecar_takes_over_the_name_of_the_apis_port() -> None:
    spec = spec_of(pod(container("api", http_port())))
    assert sidecar_of(spec)["ports"][0] == {"name": "http", "containerPort": 8443, "protocol": "TCP"}
    assert spec["containers"][0]["ports"] == [{"name": "api-loopback", "containerPort": 8080}]


@pytest.mark.parametrize("version", ["1.29", "1.31"])
def test_where_services_overlook_native_sidecars_the_name_stays_and_leads_to_the_sidecar(
    version: str,
) -> None:
    """https://github.com/kubernetes/kubernetes/issues/127958"""
    spec = spec_of(pod(container("api", http_port())), settings(kubernetes=version))
    assert spec["containers"][0]["ports"] == [{"name": "http", "containerPort": 8443}]
    assert sidecar_of(spec)["ports"][0]["name"] == "bound-token"


def test_a_host_port_moves_to_the_sidecar() -> None:
    spec = spec_of(pod(container("api", {"containerPort": 8080, "hostPort": 80, "hostIP": "10.0.0.1"})))
    assert spec["containers"][0]["ports"] == [{"containerPort": 8080}]
    moved = sidecar_of(spec)["ports"][0]
    assert (moved["hostPort"], moved["hostIP"], moved["containerPort"]) == (80, "10.0.0.1", 8443)


def test_a_port_without_a_name_gives_the_sidecar_its_own() -> None:
    spec = spec_of(pod(container("api", {"containerPort": 8080})))
    assert sidecar_of(spec)["ports"][0]["name"] == "bound-token"
    assert spec["containers"][0]["ports"] == [{"containerPort": 8080}]


def test_the_service_file_names_the_apis_port_on_loopback() -> None:
    file = written(pod(container("api", http_port(3000))), SERVICE_VARIABLE)
    assert file["upstream"] == {"url": "http://127.0.0.1:3000"}
    assert file["listeners"][0]["address"] == "*:8443"
    assert file["listeners"][0]["client_certificate"] == {"trust": "any", "at_handshake": "optional"}


def test_what_the_sidecar_obeys_stands_in_its_environment_where_nobody_can_patch_it() -> None:
    """The API server lets a Pod's annotations be changed at any time, a container's environment never."""
    probed = pod(container("api", http_port(), livenessProbe={"httpGet": {"path": "/h", "port": 8080}}))
    made = injected(probed).manifest
    sidecar = sidecar_of(made["spec"])
    assert sidecar["args"] == ["run", "--config", "env:SIDECAR_SERVICE_FILE"]
    assert set(files_of(made)) == {"SIDECAR_SERVICE_FILE", "SIDECAR_PROBE_RULES"}
    assert set(made["metadata"]["annotations"]) == {annotation.INJECT, annotation.STATUS}
    assert not [one for one in made["spec"]["volumes"] if "downwardAPI" in one]


@pytest.mark.parametrize(("grace", "drain"), [(None, "23s"), (60, "53s"), (0, "1s"), (7, "1s")])
def test_the_drain_ends_before_the_kubelet_loses_patience(grace: int | None, drain: str) -> None:
    spec: dict[str, Any] = {} if grace is None else {"terminationGracePeriodSeconds": grace}
    assert written(pod(**spec), SERVICE_VARIABLE)["timeouts"] == {"drain": drain}


def test_http_probes_go_through_the_sidecar_and_their_paths_become_public() -> None:
    probed = container(
        "api",
        http_port(),
        livenessProbe={"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 3},
        readinessProbe={"httpGet": {"path": "/ready?full=1", "port": 8080, "scheme": "HTTP"}},
        startupProbe={"httpGet": {"path": "/healthz", "port": 8080}},
    )
    api = spec_of(pod(probed))["containers"][0]
    assert api["livenessProbe"] == {
        "httpGet": {"path": "/healthz", "port": 8443, "scheme": "HTTPS"},
        "periodSeconds": 3,
    }
    assert api["readinessProbe"]["httpGet"] == {"path": "/ready?full=1", "port": 8443, "scheme": "HTTPS"}
    rules = written(pod(probed), PROBE_VARIABLE)["rules"]
    assert [rule["match"] for rule in rules] == [
        {"methods": ["GET"], "path": path} for path in ("/healthz", "/ready")
    ]
    assert all(rule["public"] is True for rule in rules)
    assert written(pod(probed), SERVICE_VARIABLE)["policy_files"][0] == f"env:{PROBE_VARIABLE}"


def test_probes_of_other_ports_other_hosts_and_commands_stay_as_they_are() -> None:
    probed = container(
        "api",
        http_port(),
        {"containerPort": 9090, "name": "admin"},
        livenessProbe={"httpGet": {"path": "/h", "port": "admin"}},
        readinessProbe={"exec": {"command": ["check"]}},
        startupProbe={"httpGet": {"path": "/h", "port": 8080, "host": "example.com"}},
    )
    manifest = pod(probed)
    after = spec_of(manifest)["containers"][0]
    assert all(after[name] == probed[name] for name in ("livenessProbe", "readinessProbe", "startupProbe"))
    assert PROBE_VARIABLE not in files_of(injected(manifest).manifest)


def test_a_kept_probe_goes_by_number_because_the_name_has_moved() -> None:
    probed = container("api", http_port(), livenessProbe={"httpGet": {"path": "/h", "port": "http"}})
    after = spec_of(pod(probed, annotations={"probes": "keep"}))
    assert after["containers"][0]["livenessProbe"] == {"httpGet": {"path": "/h", "port": 8080}}


def test_a_tcp_probe_is_led_to_the_sidecar_and_the_reader_is_told_what_it_no_longer_proves() -> None:
    probed = container("api", http_port(), livenessProbe={"tcpSocket": {"port": "http"}})
    result = injected(pod(probed))
    assert result.manifest["spec"]["containers"][0]["livenessProbe"] == {"tcpSocket": {"port": 8443}}
    assert "only proves that the sidecar listens" in result.notes[0]


def test_a_probe_of_the_root_says_that_the_root_becomes_public() -> None:
    result = injected(pod(container("api", http_port(), livenessProbe={"httpGet": {"port": 8080}})))
    assert "makes GET / public" in result.notes[0]


def test_a_port_that_stays_open_is_named() -> None:
    result = injected(
        pod(container("api", http_port(), {"containerPort": 9090}), annotations={"upstream-port": "8080"})
    )
    assert result.notes == ("port 9090 of container api is not protected by the sidecar",)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (pod(hostNetwork=True), "hostNetwork shares the loopback"),
        (pod(os={"name": "windows"}), "Linux nodes only"),
        (pod(nodeSelector={"kubernetes.io/os": "windows"}), "Linux nodes only"),
        (pod(container("api", http_port(), http_port(9000, "more"))), None),
        (pod(container("api", http_port(1), http_port(2, "b"), http_port(3, "web"))), "declares 1, 2, 3"),
        (
            pod(container("a", http_port()), container("b", http_port())),
            "several containers could be the API (a, b)",
        ),
        (pod(container("api"), annotations={"container": "api"}), "declares no TCP port"),
        (pod(annotations={"container": "other"}), "there is no container named other"),
        (pod(annotations={"upstream-port": "http"}), "upstream-port must be a port number"),
        (pod(annotations={"upstream-port": "65536"}), "upstream-port must be a port number"),
        (pod(annotations={"port": "٣"}), "port must be a port number"),
        (pod(annotations={"port": "9902"}), "also the sidecar's health or admin port"),
        (pod(annotations={"probes": "exec"}), "must be 'sidecar' or 'keep'"),
        (pod(annotations={"upstream_port": "8080"}), "upstream_port is not one this injector knows"),
        (pod(annotations={"inject": "yes"}), "must be the string 'true' or 'false'"),
        (pod(container("api", http_port(8443))), "the API's port 8443 is a port that the sidecar needs"),
        (
            pod(
                container("api", http_port()),
                container("b", http_port(9902, "x")),
                annotations={"container": "api"},
            ),
            "containerPort 9902 of container b conflicts",
        ),
        (pod(volumes=[{"name": "bound-token-tls", "emptyDir": {}}]), "volume bound-token-tls uses a name"),
        (
            pod(
                container(
                    "api", http_port(), lifecycle={"preStop": {"httpGet": {"path": "/quit", "port": "http"}}}
                )
            ),
            "lifecycle.preStop of container api calls the API's port; through the sidecar it would be open",
        ),
        (
            pod(container("api", http_port(), livenessProbe={"httpGet": {"path": "/a/../b", "port": 8080}})),
            "no rule can match literally",
        ),
        (
            pod(container("api", http_port(), livenessProbe={"httpGet": {"path": "/{id}", "port": 8080}})),
            "no rule can match literally",
        ),
        (pod(shareProcessNamespace=True), "shareProcessNamespace lets the other containers read"),
        (pod(hostPID=True), "hostPID shares the node's processes"),
        (pod(annotations={"upstream-protocol": "h3"}), "upstream-protocol must be 'h2' or 'http/1.1'"),
        (pod(annotations={"upstream-host": "localhost"}), "upstream-host must be '127.0.0.1' or '::1'"),
        (pod(volumes="none"), "spec.volumes: Input should be a valid list"),
        (
            pod({"name": "api", "ports": [{"containerPort": "8080"}]}),
            "containerPort: Input should be a valid integer",
        ),
    ],
)
def test_what_cannot_be_protected_is_refused_with_a_sentence(
    manifest: dict[str, Any], message: str | None
) -> None:
    if message is None:
        assert sidecar_of(spec_of(manifest))["name"] == CONTAINER
    else:
        assert message in problems(manifest)


def test_every_problem_of_a_pod_is_told_at_once() -> None:
    told = problems(pod(hostNetwork=True, volumes=[{"name": "bound-token-x"}], os={"name": "windows"}))
    assert told.count(";") == 2


def test_a_pod_that_runs_to_completion_needs_a_native_sidecar() -> None:
    job = pod(restartPolicy="Never")
    assert sidecar_of(spec_of(job))["restartPolicy"] == "Always"
    assert "never completes beside an ordinary sidecar" in problems(job, settings(kubernetes="1.28"))


def test_injecting_twice_changes_nothing() -> None:
    once = injected(pod()).manifest
    twice = injected(once)
    assert twice.manifest is once
    assert twice.status == injected(pod()).status


def test_a_sidecar_put_in_by_hand_is_left_alone_with_a_note() -> None:
    by_hand = pod(container("api", http_port()), container(CONTAINER))
    result = injected(by_hand)
    assert (result.manifest, result.status) == (by_hand, None)
    assert result.notes == (f"container {CONTAINER} was not put there by injection: left unchanged",)


def test_a_status_annotation_alone_does_not_keep_the_sidecar_out() -> None:
    forged = pod(annotations={"status": '{"container":"api","upstream_port":8080,"port":8443}'})
    assert sidecar_of(spec_of(forged))["name"] == CONTAINER


@pytest.mark.parametrize("text", ["injected", "[]", "{}", '{"container":"a","upstream_port":"x","port":1}'])
def test_a_status_that_cannot_be_read_is_none(text: str) -> None:
    once = injected(pod()).manifest
    once["metadata"]["annotations"][annotation.STATUS] = text
    assert annotation.status(once["metadata"]) is None
    assert injected(once).manifest is once


@pytest.mark.parametrize("asked", [None, "false"])
def test_with_opt_in_a_pod_that_does_not_ask_stays_as_it_is(asked: str | None) -> None:
    silent = pod(annotations={} if asked is None else {"inject": asked})
    assert inject(silent, settings(), Mode.ASKED) == Injection(silent, None)


def test_a_label_asks_as_well_as_an_annotation_but_the_annotation_counts_first() -> None:
    labelled = pod()
    labelled["metadata"]["labels"] = {annotation.INJECT: "true"}
    assert inject(labelled, settings(), Mode.ASKED).status is not None
    labelled["metadata"]["annotations"] = {annotation.INJECT: "false"}
    assert inject(labelled, settings(), Mode.ASKED).status is None


def test_a_pod_that_serves_nobody_and_does_not_ask_is_left_alone_with_a_note() -> None:
    worker = pod(container("worker"))
    assert injected(worker).manifest is worker
    assert injected(worker).notes == ("declares no port and does not ask for the sidecar: left unchanged",)
