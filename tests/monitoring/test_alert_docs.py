"""What the documents say of alerts is what the alert rules have."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "helm/bound-token-sidecar/rules/sidecar.yaml").read_text())["groups"]
    for rule in group["rules"]
}


def advised(text: str) -> list[list[str]]:
    """Rows of the tables of a page that advise alerts, those whose first heading begins with "alert"; as cells."""
    rows = []
    for table in re.findall(r"^\| alert.*\n\|[-|]+\n((?:\|.*\n?)+)", text, re.MULTILINE):
        rows += [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
    return [[cell.strip() for cell in row] for row in rows]


def metrics(text: str) -> set[str]:
    """Names of the sidecar's metrics in it."""
    return set(re.findall(r"\bsidecar_[a-z0-9_]+", text))


@pytest.mark.parametrize("page", PAGES)
def test_every_alert_that_is_named_is_in_the_rules(page: str) -> None:
    assert set(re.findall(r"`(Sidecar[A-Z]\w*)`", PAGES[page])) <= set(RULES)


@pytest.mark.parametrize("page", PAGES)
def test_every_alert_that_is_advised_is_in_the_rules_and_asks_what_its_row_says(page: str) -> None:
    for name, *said in advised(PAGES[page]):
        assert name.strip("`") in RULES, f"{page} advises {name}"
        assert metrics(" ".join(said)) <= metrics(RULES[name.strip("`")]["expr"]), name


def test_every_alert_about_issuers_is_advised_with_the_issuers() -> None:
    names = {name.strip("`") for name, *_ in advised(PAGES["issuers.md"])}
    assert names == {name for name, rule in RULES.items() if "issuer" in rule["expr"]}


def test_every_alert_is_listed_under_its_severity() -> None:
    table = PAGES["operations.md"].partition("| severity | alerts |")[2].partition("\n\n")[0]
    listed = {
        severity: re.findall(r"`(\w+)`", names)
        for severity, names in re.findall(r"^\| (\w+) \| (.*) \|$", table, re.MULTILINE)
    }
    wanted: dict[str, list[str]] = {}
    for name, rule in RULES.items():
        wanted.setdefault(rule["labels"]["severity"], []).append(name)
    assert {severity: sorted(names) for severity, names in listed.items()} == {
        severity: sorted(names) for severity, names in wanted.items()
    }


def test_an_advised_alert_that_is_only_an_expression_is_found() -> None:
    page = "x\n\n| alert on | because |\n|---|---|\n| `sidecar_jwks_keys == 0` | a \\| b |\n\n| other |\n|---|\n| y |\n"
    assert advised(page) == [["`sidecar_jwks_keys == 0`", "a \\| b"]]
