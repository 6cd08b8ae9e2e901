"""The injector's settings decide volumes, certificates and resources."""

from pathlib import PurePath
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sidecar.injection import annotation
from sidecar.injection.manifest import inject, workload_name
from sidecar.injection.problem import CannotInject
from tests.injection.samples import container, http_port, pod, settings, sidecar_of, volume_of


def made(annotations: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    return inject(pod(annotations=annotations), settings(**changes), opt_in=False).manifest


def test_the_certificate_comes_from_a_secret_named_after_the_workload() -> None:
    assert volume_of(made()["spec"], "bound-token-tls")["secret"] == {
        "secretName": "accounts-tls",
        "defaultMode": 0o440,
    }


def test_a_pod_may_name_its_own_secret_policies_and_port() -> None:
    wished = made({"tls-secret": "mine", "policies": "my-rules", "port": "9443"})
    assert volume_of(wished["spec"], "bound-token-tls")["secret"]["secretName"] == "mine"
    assert volume_of(wished["spec"], "bound-token-policies")["configMap"] == {"name": "my-rules"}
    assert "0.0.0.0:9443" in wished["metadata"]["annotations"][annotation.SERVICE_FILE]


def test_a_pod_may_bring_its_own_service_file() -> None:
    probed = container("api", http_port(), livenessProbe={"httpGet": {"path": "/h", "port": 8080}})
    result = inject(pod(probed, annotations={"config-map": "mine"}), settings(), opt_in=False)
    assert volume_of(result.manifest["spec"], "bound-token-service")["configMap"] == {"name": "mine"}
    assert annotation.SERVICE_FILE not in result.manifest["metadata"]["annotations"]
    assert result.notes == ("the policy must let GET /h pass for the probes",)


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
    file = yaml.safe_load(result["metadata"]["annotations"][annotation.SERVICE_FILE])
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
    strict = made(refuse_when_bypassable=True)["metadata"]["annotations"][annotation.SERVICE_FILE]
    assert yaml.safe_load(strict)["bypass_check"] == {"refuse_when_bypassable": True}
    lenient = made()["metadata"]["annotations"][annotation.SERVICE_FILE]
    assert "bypass_check" not in lenient


def test_the_last_good_keys_of_issuers_survive_a_restart_of_the_container_unless_told_otherwise() -> None:
    kept = made()
    file = yaml.safe_load(kept["metadata"]["annotations"][annotation.SERVICE_FILE])
    (mount,) = [one for one in sidecar_of(kept["spec"])["volumeMounts"] if one["name"] == "bound-token-state"]
    assert PurePath(file["state_directory"]).parent == PurePath(mount["mountPath"])
    assert mount.get("readOnly") is None
    assert volume_of(kept["spec"], "bound-token-state")["emptyDir"]["medium"] == "Memory"
    forgotten = made(keep_issuer_keys=False)
    assert "state_directory" not in forgotten["metadata"]["annotations"][annotation.SERVICE_FILE]
    assert "bound-token-state" not in str(forgotten["spec"])


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
        ({"resources": {"memory_limit": "much"}}, "memory_limit"),
        ({"user": 0}, "user"),
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
        inject(nameless, settings(), opt_in=False)


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
    after = inject(pod(api), settings(kubernetes=version), opt_in=False).manifest["spec"]["containers"][0]
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
    spec = inject(there, chosen, opt_in=False).manifest
    assert spec["spec"]["imagePullSecrets"] == [{"name": "own"}, {"name": "sidecars"}]
    assert sidecar_of(spec["spec"])["env"] == [{"name": "SIDECAR_LOOP", "value": "asyncio"}]
    assert spec["metadata"]["labels"] == {
        "team": "payments",
        "mesh": "no",
        "bound-token-sidecar/injected": "true",
    }
