"""`sidecar inject` on manifests as people write them."""

import difflib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.command.cli import main
from tests.support.kubernetes import NEWEST, OLDEST, minor_of, schema_errors

ROUNDTRIP = sorted((Path(__file__).parents[1] / "injection" / "roundtrip").glob("*.yaml"))
MANIFESTS = sorted((Path(__file__).parents[1] / "injection" / "manifests").glob("*.yaml"))


def run(*options: str) -> int:
    return main(["inject", "--image", "registry.example/sidecar:1", *options])


def filtered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, *options: str
) -> str:
    """What standard output holds after `text` came in on standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert run(*options) == 0
    return capsys.readouterr().out


def objects(text: str) -> list[dict[str, Any]]:
    """The Kubernetes objects of a stream, those in Lists included."""
    found = [document for document in yaml.safe_load_all(text) if document]
    return [item for document in found for item in document.get("items", [document])]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("version", [OLDEST, "1.29.0", NEWEST])
def test_the_output_is_what_kubernetes_accepts_and_injecting_twice_changes_nothing(
    path: Path, version: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = path.read_text()
    minor = minor_of(version)
    if minor == "1.25" and "restartPolicy: " in text:
        # Native sidecars and completing Pods: not for that version, and refused (see test_pod).
        text = "---\n".join(part for part in text.split("---\n") if "restartPolicy: " not in part)
    once = filtered(capsys, monkeypatch, text, "--kubernetes-version", minor)
    for manifest in objects(once):
        assert schema_errors(manifest, version) == []
    assert filtered(capsys, monkeypatch, once, "--kubernetes-version", minor) == once
    assert ("name: bound-token-sidecar" in once) == (bool(objects(text)))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_comments_and_all_that_is_not_injected_survive(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = path.read_text()
    made = filtered(capsys, monkeypatch, text)
    comments = [line.partition("#")[2] for line in text.splitlines() if "#" in line]
    assert [comment for comment in comments if comment not in made] == []
    changes = difflib.unified_diff(text.splitlines(), made.splitlines(), n=0, lineterm="")
    removed = [line for line in changes if line.startswith("-") and not line.startswith("---")]
    touched = ("port", "abels", "Port", "httpGet", "appProtocol", "name: ", "metadata: {", "...")
    assert [line for line in removed if not any(word in line for word in touched)] == []


def test_documents_that_do_not_change_are_passed_on_byte_for_byte(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'a:   1   # odd\n"b" : [ 1,2 ]\n---\n# only a comment\n---\nkind: "ConfigMap"\n'
    assert filtered(capsys, monkeypatch, text) == text


def test_an_anchor_that_two_places_share_changes_in_one_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: a
  annotations: &shared {team: core}  # who is asked
  labels: {a: "1"}  # and which
spec:
  template:
    metadata: {annotations: *shared}
    spec:
      containers: [{name: api, image: i, ports: [{containerPort: 8080}]}]
"""
    output = filtered(capsys, monkeypatch, text)
    assert "# who is asked" in output
    assert "# and which" in output
    made = objects(output)[0]
    assert made["metadata"]["annotations"] == {"team": "core"}
    assert "bound-token-sidecar/status" in made["spec"]["template"]["metadata"]["annotations"]


def test_several_files_become_one_stream_and_their_services_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workload = tmp_path / "deployment.yaml"
    workload.write_text(MANIFESTS[0].parent.joinpath("replicationcontroller.yaml").read_text().rstrip("\n"))
    service = tmp_path / "service.yaml"
    service.write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
        "spec: {selector: {app: ancient}, ports: [{port: 80, targetPort: 8081}]}\n"
    )
    out = tmp_path / "out.yaml"
    assert run("-f", str(workload), "-f", str(service), "-o", str(out)) == 0
    made = objects(out.read_text())
    assert [one["kind"] for one in made] == ["ReplicationController", "Service"]
    assert made[1]["spec"]["ports"] == [{"port": 80, "targetPort": 8443}]
    assert capsys.readouterr().out == ""


def test_a_settings_file_decides_and_options_go_over_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = tmp_path / "injector.yaml"
    chosen.write_text("image: registry.example/old:1\nport: 9443\npolicies: from-file\n")
    text = MANIFESTS[0].parent.joinpath("replicaset.yaml").read_text()
    made = filtered(
        capsys, monkeypatch, text, "--settings", str(chosen), "--policies", "mine", "--tls-secret", "s"
    )
    assert "image: registry.example/sidecar:1" in made
    assert 'address: "*:9443"' in made
    assert "name: mine" in made
    assert "secretName: s" in made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "-:1:6: "),
        ("a: 1\n---\nb: 2\nb: 3\n", "-:4:1: found duplicate key"),
        ("a: &x [*y]\n", "-:1:8: found undefined alias"),
        ("a: 1\n--- {}\n--- [\n", "-:4:1: "),
    ],
)
def test_what_is_not_yaml_is_named_by_line_and_nothing_is_written(
    text: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert run() == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(message)


def test_what_cannot_be_protected_is_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostNetwork: true,"
        " containers: [{name: api, ports: [{containerPort: 80}]}]}\n"
    )
    out = tmp_path / "out.yaml"
    assert run("-f", str(path), "-o", str(out)) == 1
    assert not out.exists()
    assert capsys.readouterr().err.startswith("Pod a: hostNetwork")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", ":1:1: expected a mapping of settings"),
        ("image: a\nport: high\nusers: 1\n", ":2:7: port: Input should be a valid integer"),
        ("image: a\nimage: b\n", ":2:1: "),
    ],
)
def test_wrong_settings_are_named(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = tmp_path / "injector.yaml"
    chosen.write_text(text)
    assert run("--settings", str(chosen), "-f", str(MANIFESTS[0])) == 1
    assert message in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-f", "nowhere.yaml") == 1
    assert capsys.readouterr().err.startswith("nowhere.yaml:0:0: cannot be read")


def rewritten(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, *words: str
) -> str:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text, newline=""))
    assert main(list(words)) == 0
    return capsys.readouterr().out


ANEW = {"whole-application", "host-port"}
"""An alias that stands for several places is written out; a comment goes with the line that it stands on."""
FLOW = {"flow-pod", "flow-lists", "cronjob-flow"}
"""Lists that were opened for the sidecar's part stay open."""


@pytest.mark.parametrize("path", [*MANIFESTS, *ROUNDTRIP], ids=lambda path: path.stem)
def test_inject_inject_with_a_new_image_and_uninject_is_where_one_began(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    once = rewritten(capsys, monkeypatch, text, "inject", "--image", "registry.example/sidecar:1")
    assert rewritten(capsys, monkeypatch, once, "inject", "--image", "registry.example/sidecar:1") == once
    again = rewritten(capsys, monkeypatch, once, "inject", "--image", "registry.example/sidecar:2")
    assert ("registry.example/sidecar:1" in once) == ("registry.example/sidecar:2" in again)
    assert "registry.example/sidecar:1" not in again
    back = rewritten(capsys, monkeypatch, again, "uninject")
    assert list(yaml.safe_load_all(back)) == list(yaml.safe_load_all(text))
    if path.stem not in ANEW | FLOW:
        assert back == text


def test_the_round_trip_has_thirty_manifests_and_more() -> None:
    assert len([path for path in (*MANIFESTS, *ROUNDTRIP) if path.stem not in ANEW | FLOW]) >= 30


def test_a_flow_manifest_gets_the_sidecar_in_blocks_and_a_readable_service_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = next(path for path in ROUNDTRIP if path.stem == "flow-args").read_text()
    made = rewritten(capsys, monkeypatch, text, "inject", "--image", "registry.example/sidecar:1")
    assert '          args: [serve,\n                 --workers,  "4",\n                 --quiet]\n' in made
    assert "ports: [{containerPort: 8080}]" in made
    assert "value: |\n" in made
    assert "listeners:\n" in made


def test_json_stays_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = next(path for path in ROUNDTRIP if path.stem == "kubectl.json").read_text()
    made = rewritten(capsys, monkeypatch, text, "inject", "--image", "registry.example/sidecar:1")
    assert json.loads(made)["spec"]["initContainers"][0]["name"] == "bound-token-sidecar"
    assert made.startswith('{\n    "apiVersion": "v1",\n')


def test_wrong_usage_names_the_flag_and_leaves_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inject", "-f", os.devnull]) == 2
    assert capsys.readouterr().err == (
        "sidecar inject: --image is required, here or as `image` in --settings\n"
    )
    assert main(["inject", "-f", os.devnull, "--image", "a/b:1", "--kubernetes-version", "new"]) == 2
    assert "sidecar inject: --kubernetes-version " in capsys.readouterr().err


@pytest.mark.parametrize("command", [["inject", "--image", "registry.example/s:1"], ["uninject"]])
def test_an_output_that_cannot_be_written_is_named(
    command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    there = tmp_path / "absent" / "x.yaml"
    assert main([*command, "-f", os.devnull, "-o", str(there)]) == 1
    assert f"{there}:0:0: cannot be written: No such file or directory" in capsys.readouterr().err
