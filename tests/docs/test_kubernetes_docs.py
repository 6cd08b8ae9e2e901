"""What the Kubernetes pages show can be copied: manifests, values, injector settings, policies, links."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from sidecar.command.cli import COMMANDS
from sidecar.command.injector_settings import injection_settings
from sidecar.injection.annotation import wishes
from sidecar.injection.settings import InjectionSettings
from sidecar.settings import load
from sidecar.telemetry.families import FAMILIES
from tests.support.kubernetes import NEWEST, schema_errors
from tests.support.pki import Pki
from tests.support.sidecar import Sidecar

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / name).read_text("utf-8") for name in ("kubernetes.md", "spiffe.md")}
CHART = ROOT / "helm" / "bound-token-sidecar"
FOREIGN_GROUPS = {"traefik.io", "gateway.networking.k8s.io"}
BLOCKS = [
    pytest.param(block[1], id=f"{name}:{text.count(chr(10), 0, block.start()) + 1}")
    for name, text in PAGES.items()
    for block in re.finditer(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize("text", BLOCKS)
def test_every_piece_of_yaml_is_what_it_says_it_is(text: str, tmp_path: Path, pki: Pki) -> None:
    match text.partition("\n")[0]:
        case "# values.yaml":
            schema = json.loads((CHART / "values.schema.json").read_text())
            assert [
                error.message for error in Draft7Validator(schema).iter_errors(yaml.safe_load(text))
            ] == []
        case "# injector.yaml":
            (tmp_path / "injector.yaml").write_text(text)
            assert injection_settings(str(tmp_path / "injector.yaml"), {}).image
        case "# policy.yaml":
            one = Sidecar(tmp_path, pki, "http://127.0.0.1:1")
            (tmp_path / "policies" / "policy.yaml").write_text(text)
            assert load(one.config).policy.rules
        case _:
            for manifest in yaml.safe_load_all(text):
                group = manifest["apiVersion"].partition("/")[0]
                assert group in FOREIGN_GROUPS or schema_errors(manifest, NEWEST) == []


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    anchors = {page: set(headings(text)) for page, text in PAGES.items()}
    for other in ("configuration.md", "dpop.md", "performance.md", "proxies.md"):
        anchors[other] = set(headings((ROOT / "docs" / other).read_text("utf-8")))
    for page, anchor in re.findall(r"\]\(([a-z]*(?:\.md)?)(?:#([a-z0-9-]+))?\)", PAGES[name]):
        target = page or name
        assert target in anchors
        assert not anchor or anchor in anchors[target], f"{target}#{anchor}"


def headings(text: str) -> list[str]:
    """Anchors as a forge makes them of headings."""
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in found]


def test_every_annotation_in_the_table_is_one_the_injector_knows() -> None:
    table = PAGES["kubernetes.md"].partition("| annotation ")[2].partition("\n\n")[0]
    names = re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)
    examples: dict[str, Any] = {
        "inject": "true",
        "upstream-port": "8080",
        "port": "8443",
        "probes": "keep",
        "upstream-host": "::1",
        "upstream-protocol": "h2",
    }
    annotations = {f"bound-token-sidecar/{name}": examples.get(name, "x") for name in names}
    assert len(names) == 11
    assert wishes({"annotations": annotations}).config_map == "x"


def test_every_metric_and_command_that_is_named_exists() -> None:
    for text in PAGES.values():
        assert set(re.findall(r"`(sidecar_[a-z0-9_]+)`", text)) <= set(FAMILIES)
        shell = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
        named = set(re.findall(r"`sidecar ([a-z]+)[ `]", text)) | set(
            re.findall(r"\bsidecar ([a-z]+) ", shell)
        )
        assert named <= {command.name for command in COMMANDS}


def test_the_settings_of_the_chart_are_those_of_the_injector() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    offered = set(schema["properties"]["injector"]["properties"]["settings"]["properties"])
    assert offered == set(InjectionSettings.model_fields)
