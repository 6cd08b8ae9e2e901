"""A Pod that is an authorization server: its clients come from a Secret, the rest from the injector's settings."""

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sidecar.injection.admission import review
from sidecar.injection.annotation import STATUS
from sidecar.injection.manifest import Mode, inject, uninject
from sidecar.injection.problem import CannotInject
from sidecar.injection.service_file import SERVICE_VARIABLE
from tests.injection.reviews import encoded, patched, pod_as_the_api_server_has_it, review_of
from tests.injection.samples import deployment, files_of, pod, settings, sidecar_of, volume_of
from tests.support.kubernetes import NEWEST, schema_errors

SETTINGS = {
    "issuer": "https://{name}.example.com",
    "endpoints": {"token": "/token", "revocation": {"public": "/revoke", "upstream": "/oauth/revoke"}},
    "hand_over": {"header": {"format": "rfc9440"}},
}
SERVER = {"settings": SETTINGS, "clients_secret": "as-clients"}
MINE = {"clients-secret": "mine"}
CSI = {"csi": {"driver": "csi.cert-manager.io"}}


def made(annotations: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    return inject(pod(annotations=annotations), settings(**changes)).manifest


def section_of(injected: dict[str, Any]) -> Any:
    return yaml.safe_load(files_of(injected)[SERVICE_VARIABLE]).get("authorization_server")


def secret_of(injected: dict[str, Any]) -> str | None:
    """The Secret of clients that is mounted, or None; as one volume and one mount, or neither."""
    mounts = [one for one in sidecar_of(injected["spec"])["volumeMounts"] if "clients" in one["mountPath"]]
    if not mounts:
        assert "bound-token-clients" not in str(injected["spec"])
        return None
    assert mounts == [{"name": "bound-token-clients", "mountPath": "/etc/sidecar/clients", "readOnly": True}]
    secret = volume_of(injected["spec"], "bound-token-clients")["secret"]
    assert secret["defaultMode"] == 0o440
    return str(secret["secretName"])


def test_section_is_the_operators_and_the_clients_come_from_the_secret() -> None:
    server = made(authorization_server=SERVER)
    assert section_of(server) == {
        **SETTINGS,
        "issuer": "https://accounts.example.com",
        "client_files": ["/etc/sidecar/clients/*.yaml"],
    }
    assert secret_of(server) == "as-clients"
    assert sidecar_of(server["spec"])["securityContext"]["runAsGroup"] == 0
    assert schema_errors(server, NEWEST) == []


def test_where_no_secret_is_set_only_a_pod_that_names_one_is_an_authorization_server() -> None:
    ordinary = made(authorization_server={"settings": SETTINGS})
    assert (section_of(ordinary), secret_of(ordinary)) == (None, None)
    server = made(MINE, authorization_server={"settings": SETTINGS})
    assert (section_of(server)["issuer"], secret_of(server)) == ("https://accounts.example.com", "mine")


def test_secret_of_a_pod_goes_before_the_operators_where_it_may_choose() -> None:
    assert secret_of(made(MINE, authorization_server=SERVER)) == "mine"
    with pytest.raises(CannotInject, match="clients-secret cannot be set by a Pod here"):
        made(MINE, authorization_server=SERVER, pod_may_choose=["port"])
    with pytest.raises(CannotInject, match="clients-secret cannot be set by a Pod here"):
        inject(pod(annotations=MINE), settings(authorization_server=SERVER), Mode.ENFORCED)
    enforced = inject(pod(), settings(authorization_server=SERVER), Mode.ENFORCED).manifest
    assert secret_of(enforced) == "as-clients"


def test_a_service_file_of_the_pods_own_finds_the_clients_mounted() -> None:
    own = {"config-map": "mine"}
    assert secret_of(made({**own, **MINE})) == "mine"
    assert secret_of(made(own, authorization_server=SERVER)) == "as-clients"
    assert secret_of(made(own)) is None
    assert files_of(made({**own, **MINE}, authorization_server=SERVER)) == {}


def test_clients_that_nothing_would_read_are_refused() -> None:
    with pytest.raises(CannotInject, match="the injector has no authorization_server settings for it"):
        made(MINE)


@pytest.mark.parametrize("name", ["", "Not A Name", "../as", "a" * 254])
@pytest.mark.parametrize("annotation", ["clients-secret", "tls-secret", "policies", "config-map"])
def test_annotation_that_names_no_object_is_refused(annotation: str, name: str) -> None:
    """An empty one would mean the default otherwise."""
    with pytest.raises(CannotInject, match=f"{annotation}: not the name of a Kubernetes object"):
        made({annotation: name}, authorization_server=SERVER)


def test_secret_of_the_certificate_may_have_the_name_of_the_workload_in_it() -> None:
    tls = volume_of(made({"tls-secret": "{name}-own"})["spec"], "bound-token-tls")
    assert tls["secret"]["secretName"] == "accounts-own"


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({}, "settings"),
        ({"settings": SETTINGS, "clients_secret": "Not A Name"}, "clients_secret"),
        ({"settings": SETTINGS, "clients": "as"}, "clients"),
        ({"settings": {**SETTINGS, "client_files": ["/tmp/a"]}}, "leave client_files out of settings"),
        ({"settings": {**SETTINGS, "issuer: a\nadmin": 1}}, "should match pattern"),
    ],
)
def test_a_setting_that_is_wrong_is_named(server: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(authorization_server=server)


def test_one_group_reads_the_certificate_and_the_clients() -> None:
    """The kubelet gives the files of a Secret to group 0, and a CSI driver its own to another one."""
    with pytest.raises(ValidationError, match=r"group: set .* and the Secret of clients"):
        settings(authorization_server=SERVER, server_certificate=CSI)
    told = made(authorization_server=SERVER, server_certificate=CSI, group=7)
    assert sidecar_of(told["spec"])["securityContext"]["runAsGroup"] == 7
    cluster = made(authorization_server=SERVER, server_certificate=CSI, user=None)
    assert "runAsGroup" not in sidecar_of(cluster["spec"])["securityContext"]
    own = {"config-map": "mine", **MINE}
    with pytest.raises(CannotInject, match="the injector's group must be one that may read both"):
        made(own, server_certificate=CSI)
    by_secret = made({**own, "tls-secret": "tls"}, server_certificate=CSI)
    assert sidecar_of(by_secret["spec"])["securityContext"]["runAsGroup"] == 0


def test_all_of_it_can_be_taken_back_and_a_second_injection_changes_nothing() -> None:
    for manifest in (pod(annotations=MINE), deployment(pod(volumes=[{"name": "own", "emptyDir": {}}]))):
        chosen = settings(authorization_server=SERVER)
        once = inject(manifest, chosen).manifest
        assert inject(once, chosen).manifest is once
        assert uninject(once).manifest == manifest


def test_a_second_injection_makes_an_authorization_server_of_a_pod_and_an_api_again() -> None:
    api, server = settings(), settings(authorization_server=SERVER)
    once = inject(pod(), api).manifest
    assert inject(once, server).manifest == inject(pod(), server).manifest
    assert inject(inject(once, server).manifest, api).manifest == once


def test_webhook_writes_it_and_refuses_a_pod_that_chooses_in_an_enforcing_namespace() -> None:
    chosen = settings(authorization_server=SERVER)
    before = pod_as_the_api_server_has_it()
    answer = review(encoded(review_of(before)), chosen)["response"]
    after = patched(before, answer)
    assert section_of(after)["issuer"] == "https://accounts.example.com"
    assert secret_of(after) == "as-clients"
    assert "as-clients" not in after["metadata"]["annotations"][STATUS]
    assert schema_errors(after, NEWEST) == []
    before["metadata"]["annotations"]["bound-token-sidecar/clients-secret"] = "mine"
    refused = review(encoded(review_of(before)), chosen, Mode.ENFORCED)["response"]
    assert refused["allowed"] is False
    assert "clients-secret cannot be set by a Pod here" in refused["status"]["message"]


def owned(name: str) -> dict[str, Any]:
    """A Pod whose owner has this name, into which no API server looks."""
    made = pod()
    made["metadata"] |= {"ownerReferences": [{"kind": "Thing", "name": name}]}
    return made


ODD = ['a.example", "https://evil.example', 'a"]}\nadmin: {address: "0.0.0.0:1', "UPPER", "", "a\n"]
DPOP = {"resource": "https://{name}", "origins": ["https://{name}"]}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("changes", [{"authorization_server": SERVER}, {"dpop": DPOP}])
def test_author_of_a_pod_cannot_write_settings_into_the_name_of_its_owner(
    name: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(CannotInject, match="a name that is not valid in Kubernetes"):
        inject(owned(name), settings(server_certificate={"secret": "tls"}, **changes), Mode.ENFORCED)


def test_a_workload_without_a_name_is_refused_only_where_the_settings_ask_for_it() -> None:
    nameless = {**pod(), "metadata": {}}
    chosen = {"server_certificate": {"secret": "tls"}}
    with pytest.raises(CannotInject, match=r"the Pod has no name, and authorization_server.settings asks"):
        inject(nameless, settings(authorization_server=SERVER, **chosen))
    plain = {**SERVER, "settings": {**SETTINGS, "issuer": "https://as.example"}}
    assert section_of(inject(nameless, settings(authorization_server=plain, **chosen)).manifest)
