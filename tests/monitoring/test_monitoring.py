"""Metrics, alert rules and dashboard, as Prometheus' own tool sees them."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sidecar.telemetry.families import FAMILIES, Kind
from tests.process.world import get, sidecar
from tests.support.debian import program
from tests.support.mint import SigningKey
from tests.support.pki import Pki

pytestmark = pytest.mark.timeout(300)  # the first test may have to install Prometheus

HERE = Path(__file__).parent
CHART = HERE.parents[1] / "helm" / "bound-token-sidecar"
RULES = CHART / "rules" / "sidecar.yaml"
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))

Run = Callable[..., str]


@pytest.fixture(scope="session")
def promtool() -> Run:
    """Runs promtool with arguments; its output. Fails the test unless it is content."""
    path = program("promtool", "prometheus")

    def run(*arguments: object, given: str = "") -> str:
        command = [path, *map(str, arguments)]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    return run


def expressions() -> list[tuple[str, str]]:
    """Where, and what is asked of Prometheus there."""
    rules = yaml.safe_load(RULES.read_text())
    asked = [(rule["alert"], rule["expr"]) for group in rules["groups"] for rule in group["rules"]]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            asked += [(panel["title"], target["expr"]) for target in panel["targets"]]
    return asked


@pytest.mark.parametrize("workers", [1, 2])
def test_metrics_of_a_busy_process_are_clean(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, promtool: Run, workers: int
) -> None:
    with sidecar(tmp_path, pki, signing_key, {"workers": workers}) as (one, _):
        with one.connect(pki.client) as wire:
            assert wire.request("GET", "/accounts/1", token=signing_key.token(pki.client)).status == 200
            assert wire.request("GET", "/accounts/1").status == 401
        _, text = get(f"{one.health_url}/metrics")
    complaints = promtool("check", "metrics", given=text).strip()
    assert complaints == ""
    names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert set(FAMILIES) <= names
    assert re.search(r"^sidecar_ready 1(\.0)?$", text, re.MULTILINE)


def test_alert_rules_are_well_formed(promtool: Run) -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES)


@pytest.mark.slow  # promtool evaluates hours of every series: half a minute of CPU on a quiet machine
def test_alert_rules_fire_when_they_should_and_not_before(promtool: Run, tmp_path: Path) -> None:
    cases = (HERE / "alerts.yaml").read_text().replace("RULES", str(RULES))
    (tmp_path / "alerts.yaml").write_text(cases)
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "alerts.yaml")


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    alerts = {
        rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    }
    fired: set[str] = set()
    silent: set[str] = set()
    for test in yaml.safe_load((HERE / "alerts.yaml").read_text())["tests"]:
        for case in test["alert_rule_test"]:
            (fired if case.get("exp_alerts") else silent).add(case["alertname"])
    assert fired == alerts
    assert alerts - silent <= {
        "SidecarRefusesManyRequests",
        "SidecarFailsRequests",
        "SidecarIssuerOutOfReach",
    }, "those have series beside the one that fires, which must not"


def test_dashboard_asks_what_prometheus_understands(promtool: Run, tmp_path: Path) -> None:
    rules = [
        {
            "record": f"panel:{number}",
            "expr": expression.replace("$__rate_interval", "5m").replace("$namespace", ".*"),
        }
        for number, (_, expression) in enumerate(expressions())
    ]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", tmp_path / "panels.yaml")


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_every_metric_asked_for_exists_with_its_labels(where: str, expression: str) -> None:
    asked = re.findall(r"\b((?:sidecar|process)_[a-z0-9_]+)", expression)
    assert asked
    for name in asked:
        family = FAMILIES.get(re.sub(r"_(bucket|sum|count)$", "", name)) or FAMILIES.get(name)
        assert family is not None, f"{where}: {name}"
        assert (family.kind is Kind.HISTOGRAM) == (name != family.name)
    known = {label for name in asked for label in _labels(name)} | {"namespace", "pod", "le"}
    for labels in re.findall(r"by \(([^)]*)\)", expression):
        assert {label.strip() for label in labels.split(",")} <= known, where


def _labels(name: str) -> tuple[str, ...]:
    family = FAMILIES.get(re.sub(r"_(bucket|sum|count)$", "", name)) or FAMILIES[name]
    return family.labels


def test_dashboard_panels_do_not_overlap_and_each_has_a_name() -> None:
    for path in DASHBOARDS:
        panels = json.loads(path.read_text())["panels"]
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
        assert len(places) == len({panel["title"] for panel in panels}) == len(panels)


@pytest.mark.parametrize(
    ("metric", "alert"),
    [
        ("sidecar_issued_tokens_total", "SidecarIssuesUnboundTokens"),
        ("sidecar_incidents_total", "SidecarHttp2Flooded"),
    ],
)
def test_issued_tokens_and_floods_of_http2_are_seen_and_told(metric: str, alert: str) -> None:
    asked = dict(expressions())
    panels = [
        target["expr"]
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]
    assert metric in asked[alert]
    (label,) = FAMILIES[metric].labels
    shown = [one for one in panels if metric in one and f"by ({label})" in one]
    assert shown
    assert metric != "sidecar_incidents_total" or any('name=~"http2_.*"' in one for one in shown)
