"""The injector's settings decide volumes, certificates and resources."""

from pathlib import PurePath
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sidecar.injection.manifest import inject, workload_name
from sidecar.injection.problem import CannotInject
from sidecar.injection.service_file import SERVICE_VARIABLE
from tests.injection.samples import container, files_of, http_port, pod, settings, sidecar_of, volume_of


def made(annotations: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    return inject(pod(annotations=annotations), settings(**changes)).manifest


def test_the_certificate_comes_from_a_secret_named_after_the_workload() -> None:
    assert volume_of(made()["spec"], "bound-token-tls")["secret"] == {
        "secretName": "accounts-tls",
        "defaultMode": 0o440,
    }


def test_a_pod_may_name_its_own_secret_policies_and_port() -> None:
    wished = made({"tls-secret": "mine", "policies": "my-rules", "port": "9443"})
    assert volume_of(wished["spec"], "bound-token-tls")["secret"]["secretName"] == "mine"
    assert volume_of(wished["spec"], "bound-token-policies")["configMap"] == {"name": "my-rules"}
    assert "*:9443" in files_of(wished)[SERVICE_VARIABLE]


def test_a_pod_may_bring_its_own_service_file() -> None:
    probed = container("api", http_port(), livenessProbe={"httpGet": {"path": "/h", "port": 8080}})
    result = inject(pod(probed, annotations={"config-map": "mine"}), settings())
    assert volume_of(result.manifest["spec"], "bound-token-service")["configMap"] == {"name": "mine"}
    assert files_of(result.manifest) == {}
    assert sidecar_of(result.manifest["spec"])["args"][-1] == "/etc/sidecar/config/sidecar.yaml"
    assert result.notes[-1] == "the policy must let GET /h pass for the probes"


def test_a_csi_driver_may_make_the_certificate() -> None:
    attributes = {"csi.cert-manager.io/issuer-name": "ca"}
    csi = {"driver": "csi.cert-manager.io", "attributes": attributes}
    volume = volume_of(made(server_certificate={"csi": csi})["spec"], "bound-token-tls")
    assert volume["csi"] == {
        "driver": "csi.cert-manager.io",
        "readOnly": True,
        "volumeAttributes": attributes,
    }


def test_a_volume_of_the_pod_may_hold_the_certificate_under_other_file_names() -> None:
    certificate = {"volume": "svids", "certificate_file": "svid.pem", "private_key_file": "svid_key.pem"}
    result = made(server_certificate=certificate, client_ca={"tls_volume": True, "file": "svid_bundle.pem"})
    file = yaml.safe_load(files_of(result)[SERVICE_VARIABLE])
    listener = file["listeners"][0]
    assert listener["tls"]["certificate_file"] == "/etc/sidecar/tls/svid.pem"
    assert listener["client_certificate"]["ca_file"] == "/etc/sidecar/tls/svid_bundle.pem"
    assert listener["client_certificate"]["trust"] == "ca"
    mounts = {one["mountPath"]: one["name"] for one in sidecar_of(result["spec"])["volumeMounts"]}
    assert mounts["/etc/sidecar/tls"] == "svids"
    assert "bound-token-tls" not in {one["name"] for one in result["spec"]["volumes"]}


@pytest.mark.parametrize("kind", ["config_map", "secret"])
def test_the_client_authorities_are_mounted_beside_it(kind: str) -> None:
    spec = made(client_ca={kind: "clients"})["spec"]
    mounts = {one["mountPath"]: one["name"] for one in sidecar_of(spec)["volumeMounts"]}
    assert mounts["/etc/sidecar/client-ca"] == "bound-token-client-ca"


def test_of_a_secret_with_the_client_authority_only_the_certificate_is_mounted() -> None:
    volume = volume_of(made(client_ca={"secret": "clients"})["spec"], "bound-token-client-ca")
    assert volume["secret"] == {"secretName": "clients", "items": [{"key": "ca.crt", "path": "ca.crt"}]}


def test_the_sleep_action_is_used_where_it_is_on_and_python_where_it_is_not() -> None:
    assert sidecar_of(made()["spec"])["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}
    before = sidecar_of(made(kubernetes="1.29")["spec"])["lifecycle"]["preStop"]
    assert before["exec"]["command"] == ["/opt/sidecar/bin/python", "-c", "import time; time.sleep(5)"]
    assert "lifecycle" not in sidecar_of(made(pre_stop_seconds=0)["spec"])


def test_an_api_that_can_be_bypassed_makes_the_sidecar_unready_only_when_asked() -> None:
    strict = files_of(made(refuse_when_bypassable=True))[SERVICE_VARIABLE]
    assert yaml.safe_load(strict)["bypass_check"] == {"refuse_when_bypassable": True}
    lenient = files_of(made())[SERVICE_VARIABLE]
    assert "bypass_check" not in lenient


def test_the_last_good_keys_of_issuers_survive_a_restart_of_the_container_unless_told_otherwise() -> None:
    kept = made()
    file = yaml.safe_load(files_of(kept)[SERVICE_VARIABLE])
    (mount,) = [one for one in sidecar_of(kept["spec"])["volumeMounts"] if one["name"] == "bound-token-state"]
    assert PurePath(file["state_directory"]).parent == PurePath(mount["mountPath"])
    assert mount.get("readOnly") is None
    assert volume_of(kept["spec"], "bound-token-state")["emptyDir"]["medium"] == "Memory"
    forgotten = made(keep_issuer_keys=False)
    assert "state_directory" not in files_of(forgotten)[SERVICE_VARIABLE]
    assert "bound-token-state" not in str(forgotten["spec"])


TOLD = {
    "header": {"format": "xfcc"},
    "proxies": [{"spiffe_id": "spiffe://mesh/ns/ingress/**"}, {"network": "10.0.0.0/8"}],
}


@pytest.mark.parametrize("kind", ["config_map", "secret", "tls_volume"])
def test_certificates_may_be_told_by_the_proxies_that_the_operator_lists(kind: str) -> None:
    chosen: dict[str, Any] = {kind: True} if kind == "tls_volume" else {kind: "mesh"}
    spec = made(told_certificate=TOLD, proxy_ca={**chosen, "file": "mesh.crt"})
    listener = yaml.safe_load(files_of(spec)[SERVICE_VARIABLE])["listeners"][0]
    place = "tls" if kind == "tls_volume" else "proxy-ca"
    assert listener["client_certificate"] == {
        "trust": "any",
        "source": "header",
        "header": {"format": "xfcc"},
        "proxies": [
            {"spiffe_id": "spiffe://mesh/ns/ingress/**", "ca_file": f"/etc/sidecar/{place}/mesh.crt"},
            {"network": "10.0.0.0/8"},
        ],
    }
    mounts = {one["mountPath"]: one["name"] for one in sidecar_of(spec["spec"])["volumeMounts"]}
    assert (mounts.get("/etc/sidecar/proxy-ca") == "bound-token-proxy-ca") is (kind != "tls_volume")


def test_author_of_a_pod_has_no_say_in_who_may_tell_certificates() -> None:
    annotations = {"told-certificate": "{}", "proxies": "0.0.0.0/0", "proxy-ca": "mine"}
    with pytest.raises(CannotInject, match="told-certificate"):
        inject(pod(annotations=annotations), settings())


DPOP = {"resource": "https://{name}.example.com", "origins": ["https://{name}.example.com"]}


def test_dpop_gets_its_origins_by_the_name_of_the_workload_and_what_replicas_share_from_secrets() -> None:
    pod = made(dpop={**DPOP, "nonce_key_secret": "nonces", "replay_secret": "replay"})
    file = yaml.safe_load(files_of(pod)[SERVICE_VARIABLE])
    origin = "https://accounts.example.com"
    assert file["protected_resource"] == {"resource": origin, "origins": [origin]}
    assert file["dpop"] == {
        "nonce_key_file": "/etc/sidecar/dpop/nonce-key",
        "replay": {"store": "redis", "url_file": "/etc/sidecar/dpop/url"},
    }
    assert volume_of(pod["spec"], "bound-token-dpop")["projected"] == {
        "defaultMode": 0o440,
        "sources": [
            {"secret": {"name": "nonces", "items": [{"key": "nonce-key", "path": "nonce-key"}]}},
            {"secret": {"name": "replay", "items": [{"key": "url", "path": "url"}]}},
        ],
    }
    sidecar = sidecar_of(pod["spec"])
    (mount,) = [one for one in sidecar["volumeMounts"] if one["name"] == "bound-token-dpop"]
    assert mount == {"name": "bound-token-dpop", "mountPath": "/etc/sidecar/dpop", "readOnly": True}
    assert sidecar["securityContext"]["runAsGroup"] == 0


def test_dpop_needs_no_secret_and_one_that_has_them_says_which_group_reads_all() -> None:
    """The kubelet gives the files of a Secret to group 0, and a CSI driver its own to another one."""
    certificate = {
        "csi": {"driver": "csi.cert-manager.io", "attributes": {"csi.cert-manager.io/fs-group": "0"}}
    }
    pod = made(dpop=DPOP, server_certificate=certificate)
    file = yaml.safe_load(files_of(pod)[SERVICE_VARIABLE])
    assert "protected_resource" in file
    assert "dpop" not in file
    assert "bound-token-dpop" not in str(pod["spec"])
    assert sidecar_of(pod["spec"])["securityContext"]["runAsGroup"] == 65532
    secret = {**DPOP, "nonce_key_secret": "nonces"}
    with pytest.raises(ValidationError, match="group: set a group that may read both"):
        settings(dpop=secret, server_certificate=certificate)
    told = made(dpop=secret, server_certificate=certificate, group=0)
    assert sidecar_of(told["spec"])["securityContext"]["runAsGroup"] == 0
    cluster = made(dpop=secret, server_certificate=certificate, user=None)
    assert "runAsGroup" not in sidecar_of(cluster["spec"])["securityContext"]


def test_name_of_a_workload_that_has_none_is_missed() -> None:
    with pytest.raises(CannotInject, match="the Pod has no name"):
        inject({**pod(), "metadata": {}}, settings(dpop=DPOP, server_certificate={"secret": "tls"}))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"image": 7}, "image"),
        ({"image": ""}, "image"),
        ({"port": "8443"}, "port"),
        ({"port": 0}, "port"),
        ({"port": 9902}, "must differ"),
        ({"kubernetes": "1"}, "kubernetes"),
        ({"policies": "Not A Name"}, "policies"),
        ({"ports": 1}, "ports"),
        ({"server_certificate": {"secret": "a", "volume": "b"}}, "exactly one"),
        ({"server_certificate": {"certificate_file": "../../etc/passwd"}}, "certificate_file"),
        ({"client_ca": {}}, "exactly one"),
        ({"told_certificate": {"header": {"format": "xfcc"}, "proxies": []}}, "proxies"),
        ({"told_certificate": {"header": {"format": "pem"}, "proxies": [{"network": "::/0"}]}}, "format"),
        ({"told_certificate": {**TOLD, "proxies": [{}]}, "proxy_ca": {"secret": "a"}}, "exactly one"),
        ({"told_certificate": {**TOLD, "proxies": [{"network": "10.0.0.1/8"}]}}, "network"),
        ({"told_certificate": TOLD}, "proxy_ca"),
        ({"proxy_ca": {"secret": "a"}}, "proxy_ca"),
        ({"resources": {"memory_limit": "much"}}, "memory_limit"),
        ({"user": 0}, "user"),
        ({"dpop": {}}, "resource"),
        ({"dpop": {"resource": "http://a.example", "origins": ["https://a.example"]}}, "an https URL"),
        ({"dpop": {"resource": "https://a.example", "origins": []}}, "origins"),
        ({"dpop": {"resource": "https://a.example", "origins": ['https://a"b']}}, "an https URL"),
    ],
)
def test_a_setting_that_is_wrong_is_named(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        settings(**changes)


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"name": "plain"}, "plain"),
        ({"generateName": "bare-"}, "bare"),
        (
            {
                "generateName": "accounts-7d9f8b6c5-",
                "labels": {"pod-template-hash": "7d9f8b6c5"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "accounts-7d9f8b6c5"}],
            },
            "accounts",
        ),
        ({"generateName": "web-", "ownerReferences": [{"kind": "StatefulSet", "name": "web"}]}, "web"),
        (
            {"generateName": "n-x-", "ownerReferences": [{"kind": "Job", "name": "nightly-28391540"}]},
            "nightly",
        ),
        ({}, None),
    ],
)
def test_the_workload_is_called_what_its_owner_is_called(metadata: dict[str, Any], name: str | None) -> None:
    assert workload_name({"kind": "Pod", "metadata": metadata}) == name


def test_a_nameless_pod_without_a_named_secret_is_refused() -> None:
    nameless = pod()
    del nameless["metadata"]["name"]
    with pytest.raises(CannotInject, match="tls-secret"):
        inject(nameless, settings())


@pytest.mark.parametrize(
    ("source", "annotations", "group"),
    [
        ({"secret": "own"}, {}, 0),
        ({"volume": "svids"}, {}, 65532),
        ({"volume": "svids"}, {"tls-secret": "mine"}, 0),
        ({"csi": {"driver": "csi.cert-manager.io"}}, {}, 65532),
    ],
)
def test_the_group_is_the_one_that_may_read_the_key(
    source: dict[str, Any], annotations: dict[str, str], group: int
) -> None:
    context = sidecar_of(made(annotations, server_certificate=source)["spec"])["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (65532, group)
    chosen = sidecar_of(made(annotations, server_certificate=source, group=7)["spec"])["securityContext"]
    assert chosen["runAsGroup"] == 7


@pytest.mark.parametrize(
    ("lifecycle", "version", "hook"),
    [
        (None, "1.30", {"sleep": {"seconds": 5}}),
        ({"postStart": {"exec": {"command": ["a"]}}}, "1.30", {"sleep": {"seconds": 5}}),
        ({"preStop": {"exec": {"command": ["b"]}}}, "1.30", {"exec": {"command": ["b"]}}),
        (None, "1.29", None),
    ],
)
def test_the_api_outlives_its_endpoints_unless_it_has_a_hook_of_its_own(
    lifecycle: dict[str, Any] | None, version: str, hook: dict[str, Any] | None
) -> None:
    api = container("api", http_port(), lifecycle=lifecycle)
    after = inject(pod(api), settings(kubernetes=version)).manifest["spec"]["containers"][0]
    hooks = after["lifecycle"] or {}
    assert hooks.get("preStop") == hook
    assert hooks.get("postStart") == (lifecycle or {}).get("postStart")


def test_pull_secrets_environment_and_labels_are_added_to_what_is_there() -> None:
    there = pod(imagePullSecrets=[{"name": "own"}])
    there["metadata"]["labels"] = {"team": "payments"}
    chosen = settings(
        image_pull_secrets=["own", "sidecars"],
        env={"SIDECAR_LOOP": "asyncio"},
        labels={"team": "x", "mesh": "no"},
    )
    spec = inject(there, chosen).manifest
    assert spec["spec"]["imagePullSecrets"] == [{"name": "own"}, {"name": "sidecars"}]
    assert sidecar_of(spec["spec"])["env"][0] == {"name": "SIDECAR_LOOP", "value": "asyncio"}
    assert spec["metadata"]["labels"] == {
        "team": "payments",
        "mesh": "no",
        "bound-token-sidecar/injected": "true",
    }


def test_the_cluster_may_choose_the_user() -> None:
    """OpenShift gives each namespace a range of its own and admits no other user."""
    context = sidecar_of(made(user=None)["spec"])["securityContext"]
    assert context["runAsNonRoot"] is True
    assert not {"runAsUser", "runAsGroup"} & set(context)
    assert sidecar_of(made(user=None, group=3000)["spec"])["securityContext"]["runAsGroup"] == 3000


@pytest.mark.parametrize(
    ("families", "host"), [(["IPv4", "IPv6"], "*"), (["IPv4"], "0.0.0.0"), (["IPv6"], "[::]")]
)
def test_the_sidecar_listens_on_the_families_of_the_cluster(families: list[str], host: str) -> None:
    file = yaml.safe_load(files_of(made(families=families))[SERVICE_VARIABLE])
    assert file["listeners"][0]["address"] == f"{host}:8443"
    assert file["health"]["address"] == f"{host}:9902"


def test_an_api_on_the_loopback_of_ipv6_is_found_there() -> None:
    by_pod = yaml.safe_load(files_of(made({"upstream-host": "::1"}))[SERVICE_VARIABLE])
    by_operator = yaml.safe_load(files_of(made(upstream_host="::1"))[SERVICE_VARIABLE])
    assert by_pod["upstream"]["url"] == by_operator["upstream"]["url"] == "http://[::1]:8080"


def test_what_a_pod_may_choose_is_the_operators() -> None:
    asked = {"port": "9443", "policies": "mine"}
    with pytest.raises(CannotInject, match=r"bound-token-sidecar/policies cannot be set by a Pod here"):
        made(asked, pod_may_choose=["port"])
    assert "*:9443" in files_of(made({"port": "9443"}, pod_may_choose=["port"]))[SERVICE_VARIABLE]


def test_probes_make_public_what_the_operator_lists_and_nothing_else() -> None:
    probed = pod(container("api", http_port(), livenessProbe={"httpGet": {"path": "/h", "port": 8080}}))
    with pytest.raises(
        CannotInject, match=r"GET /h public, which is not in the injector's public_probe_paths"
    ):
        inject(probed, settings(public_probe_paths=["/healthz"]))
    assert inject(probed, settings(public_probe_paths=["/h"])).status is not None


def test_an_environment_value_is_not_expanded_by_the_kubelet() -> None:
    """`$(NAME)` in a container's environment stands for another variable."""
    raw = sidecar_of(made(env={"TEXT": "$(SECRET)"})["spec"])["env"][0]
    assert raw == {"name": "TEXT", "value": "$$(SECRET)"}
