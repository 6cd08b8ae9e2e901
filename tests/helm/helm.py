"""Helm 3 and Helm 4, the real binaries, and what they render."""

import functools
import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.kubernetes import NEWEST, OLDEST, minor_of, schema_errors

HERE = Path(__file__).parent
CHART = HERE.parents[1] / "helm" / "bound-token-sidecar"
BINARIES = HERE.parents[1] / "build" / "helm"
RELEASE, NAMESPACE = "accounts", "bank"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Helm:
    """One version of Helm."""

    major: int

    @property
    def binary(self) -> Path:
        return BINARIES / str(self.major) / "helm"

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.binary, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
        )

    def template(self, chart: Path, kubernetes: str, *options: object) -> list[Manifest]:
        """Everything that `helm install` would send to a cluster of that version, in order of kind and name."""
        arguments = ["template", RELEASE, chart, "--namespace", NAMESPACE, "--kube-version", kubernetes]
        done = self.run(*arguments, *options)
        assert done.returncode == 0, done.stderr
        found = [one for one in yaml.safe_load_all(done.stdout) if one]
        return sorted(found, key=lambda one: (one["kind"], one["metadata"]["name"]))

    def refusal(self, *options: object) -> str:
        """What Helm says when it does not render."""
        done = self.run("template", RELEASE, CHART, *options)
        assert done.returncode != 0
        assert done.stdout == ""
        return done.stderr


HELM3, HELM4 = Helm(3), Helm(4)


@functools.cache
def rendered(values: Path, kubernetes: str, major: int = 4) -> list[Manifest]:
    """The chart with one values file."""
    return Helm(major).template(CHART, kubernetes, "--values", values)


def versions_for(values: Path) -> list[str]:
    """Oldest and newest; a file may say in its first line that it needs a newer one."""
    first = values.read_text().partition("\n")[0]
    minimum = first.removeprefix("# minimum: ") if first.startswith("# minimum: ") else None
    return [f"{minimum}.0" if minimum else OLDEST, NEWEST]


@functools.cache
def _errors(text: str, version: str) -> tuple[str, ...]:
    return tuple(schema_errors(json.loads(text), version))


def is_custom(manifest: Manifest) -> bool:
    """Whether a resource is defined by an operator and not by Kubernetes itself."""
    group = manifest["apiVersion"].partition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


def problems_of(manifests: Sequence[Manifest], version: str) -> list[str]:
    """What Kubernetes' own schemas say against the manifests; custom resources are checked elsewhere."""
    return [
        f"{minor_of(version)} {one['kind']} {one['metadata']['name']}: {problem}"
        for one in manifests
        if not is_custom(one)
        for problem in _errors(json.dumps(one, sort_keys=True), version)
    ]


def custom_problems(manifests: Sequence[Manifest]) -> list[str]:
    """What the operators' own schemas say against custom resources."""
    done = subprocess.run(
        ["node", HERE / "validate.mjs"],
        input=json.dumps(manifests),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def digest(manifest: Manifest) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def pod_specs(manifests: Sequence[Manifest]) -> list[tuple[str, dict[str, Any]]]:
    """Every Pod spec among the manifests, with the name of what holds it."""
    found = []
    for one in manifests:
        spec = one.get("spec") or {}
        if one["kind"] == "Pod":
            found.append((one["metadata"]["name"], spec))
        elif "template" in spec:
            found.append((one["metadata"]["name"], spec["template"]["spec"]))
    return found


def only(manifests: Sequence[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The one manifest of a kind (and name)."""
    (found,) = [one for one in manifests if one["kind"] == kind and name in {None, one["metadata"]["name"]}]
    return found
