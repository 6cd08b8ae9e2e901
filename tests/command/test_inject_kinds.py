"""What becomes of each kind of manifest: the rows of the table in docs/kubernetes.md, each with an input of its own."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.command.cli import main

ROOT = Path(__file__).parents[2]
INPUTS = ROOT / "tests" / "injection"
NAME = "bound-token-sidecar"
Objects = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Made:
    """What the command left: the text before and after, and all objects of the latter."""

    before: str
    after: str
    objects: Objects

    def pod(self, kind: str) -> dict[str, Any]:
        """The Pod template of the only object of `kind`."""
        (found,) = [one for one in self.objects if one["kind"] == kind]
        spec = found["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else found["spec"]
        template: dict[str, Any] = spec["template"]
        return template

    def ports(self, kind: str = "Service") -> list[Any]:
        """Where the Services lead."""
        return [
            port.get("targetPort")
            for one in self.objects
            if one["kind"] == kind
            for port in one["spec"]["ports"]
        ]

    def documents(self) -> list[tuple[str, str]]:
        """The documents that are the same text before and after, and those that are not."""
        return list(zip(self.before.split("---\n"), self.after.split("---\n"), strict=True))


def flat(text: str) -> Objects:
    return [one for whole in yaml.safe_load_all(text) if whole for one in whole.get("items", [whole])]


def native(pod: dict[str, Any]) -> bool:
    last = pod["spec"]["initContainers"][-1]
    return bool(last["name"] == NAME and last["restartPolicy"] == "Always")


def completes(made: Made) -> None:
    assert native(made.pod("CronJob"))


def keeps_its_volumes(made: Made) -> None:
    before = flat(made.before)[0]
    assert native(made.pod("StatefulSet"))
    after = made.objects[0]["spec"]
    assert [one["name"] for one in made.pod("StatefulSet")["spec"]["initContainers"]] == ["migrate", NAME]
    for field in ("volumeClaimTemplates", "serviceName"):
        assert after[field] == before["spec"][field]


def each_item(made: Made) -> None:
    assert [one["kind"] for one in made.objects] == ["Service", "Deployment", "ConfigMap"]
    assert yaml.safe_load(made.after)["kind"] == "List"
    assert native(made.pod("Deployment"))
    assert made.ports() == [8443]


def only_the_workload(made: Made) -> None:
    changed = [flat(before)[0]["kind"] for before, after in made.documents() if before != after]
    assert changed == ["Deployment", "Service"]
    assert native(made.pod("Deployment"))


def leads_to_the_sidecar(made: Made) -> None:
    assert (made.ports(), native(made.pod("Deployment"))) == ([8443], True)


def by_name(made: Made) -> None:
    assert [flat(before)[0]["kind"] for before, after in made.documents() if before != after and before] == [
        "Deployment"
    ]
    assert made.pod("Deployment")["spec"]["initContainers"][0]["ports"][0]["name"] == "http"
    sources = [line for line in made.before.splitlines() if line.startswith("# Source")]
    assert [line for line in made.after.splitlines() if line.startswith("# Source")] == sources


def the_one_with_a_port(made: Made) -> None:
    status = yaml.safe_load(made.pod("Deployment")["metadata"]["annotations"][f"{NAME}/status"])
    assert (status["container"], status["upstream_port"]) == ("web", 8080)


def after_the_others(made: Made) -> None:
    names = [one["name"] for one in made.pod("DaemonSet")["spec"]["initContainers"]]
    assert names == ["migrate", "logs", NAME]


def like_a_deployment(made: Made) -> None:
    assert native(made.pod("Rollout"))


def same_ends(made: Made) -> None:
    assert "\r\n" in made.before
    assert made.after.count("\n") == made.after.count("\r\n")


def speaks_http2(made: Made) -> None:
    api, sidecar = (
        made.pod("Deployment")["spec"]["containers"],
        made.pod("Deployment")["spec"]["initContainers"][0],
    )
    file = yaml.safe_load(
        next(one["value"] for one in sidecar["env"] if one["name"] == "SIDECAR_SERVICE_FILE")
    )
    assert file["listeners"][0]["protocols"] == ["h2", "http/1.1"]
    assert file["upstream"] == {"url": "http://127.0.0.1:9000", "protocol": "h2"}
    assert api[0]["livenessProbe"] == {"httpGet": {"path": "/grpcz?service=prices", "port": 9902}}


def untouched(made: Made) -> None:
    assert made.after == made.before


Check = Callable[[Made], None]
"""What must be true of a manifest that is injected; a refused one leaves nothing to look at."""

KINDS: dict[str, tuple[str, Check | None]] = {
    "CronJob, Job": ("manifests/cronjob", completes),
    "StatefulSet, DaemonSet": ("manifests/statefulset", keeps_its_volumes),
    "`kind: List`": ("manifests/list", each_item),
    "many documents, CRDs among them": ("roundtrip/multi-document-with-crd", only_the_workload),
    "Kustomize output": ("roundtrip/kustomize-output", leads_to_the_sidecar),
    "Helm output": ("kinds/helm", by_name),
    "several containers, one with a port": ("kinds/one-port", the_one_with_a_port),
    "several containers with ports": ("kinds/two-apis", None),
    "other native sidecars": ("roundtrip/several-containers", after_the_others),
    "a workload of a custom kind": ("roundtrip/rollout", like_a_deployment),
    "JSON, Windows line ends, no end of line": ("roundtrip/windows-lines", same_ends),
    "Windows Pods": ("kinds/windows", None),
    "the node's own network": ("kinds/node-agent", None),
    "a gRPC or HTTP/2 port": ("kinds/grpc", speaks_http2),
    "no port at all": ("kinds/no-port", untouched),
}
TABLE = dict(
    re.findall(
        r"^\| (.+?) \| (.+) \|$",
        (ROOT / "docs" / "kubernetes.md")
        .read_text()
        .partition("| input |")[2]
        .partition("\n|---|---|\n")[2]
        .partition("\n\n")[0],
        re.MULTILINE,
    )
)


def test_every_row_of_the_table_has_an_input_here() -> None:
    assert list(TABLE) == list(KINDS)
    assert len(KINDS) >= 10


@pytest.mark.parametrize("kind", KINDS)
def test_manifest_becomes_what_the_table_says(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, check = KINDS[kind]
    source, out = INPUTS / f"{file}.yaml", tmp_path / "out.yaml"
    code = main(["inject", "--image", "registry.example/s:1", "-f", str(source), "-o", str(out)])
    told = capsys.readouterr().err
    sentences = re.findall(r"\*([^*]+)\*", TABLE[kind])
    if check is None:
        assert (code, out.exists(), told.count("\n")) == (1, False, 1)
        assert [sentence for sentence in sentences if sentence not in told] == []
        assert sentences
        return
    assert code == 0
    before, after = (file.read_bytes().decode() for file in (source, out))
    check(Made(before, after, flat(after)))
    if check in {untouched, speaks_http2}:
        assert [sentence for sentence in sentences if sentence not in told] == []


def test_before_native_sidecars_a_cronjob_is_refused_as_the_table_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = INPUTS / "manifests" / "cronjob.yaml"
    command = ["inject", "--image", "registry.example/s:1", "--kubernetes-version", "1.28", "-f", str(file)]
    assert main(command) == 1
    (sentence,) = re.findall(r"\*([^*]+)\*", TABLE["CronJob, Job"])
    assert capsys.readouterr().err == f"CronJob nightly: {sentence}\n"
