"""Budgets are judged by the figures of one run, and the chart shows what was measured."""

from pathlib import Path
from typing import Any

from bench.budget import Budget, budgets
from bench.chart import draw
from bench.sample import Figures
from bench.unnamed_keys import NAMED, UNNAMED
from bench.unnamed_keys import measured as measured_keys


def cell(cpu_us: float | None) -> Figures:
    return Figures(cpu_us_per_request=cpu_us, requests_per_second=1.0, p50_ms=1.0, p99_ms=1.0, rss_kb=1.0)


def test_budget_within_its_limit_is_kept() -> None:
    assert Budget("a", 0.8, 0.8).row() == ["a", "0.80", "0.80", "kept"]


def test_missed_budget_says_by_how_much() -> None:
    assert Budget("a", 1.0, 0.8).row()[-1] == "missed by 25 %"


def test_budgets_compare_with_peers_of_the_same_load() -> None:
    figures = {"cached-es256": {"sidecar": cell(50.0), "haproxy": cell(100.0)}}
    assert [(b.measured, b.limit) for b in budgets(figures, {})] == [(0.5, 0.5)]


def test_denied_requests_are_held_against_permitted_ones() -> None:
    figures = {"cached-es256": {"sidecar": cell(50.0)}, "denied": {"sidecar": cell(60.0)}}
    (budget,) = budgets(figures, {})
    assert budget.measured == 1.2
    assert not budget.is_kept


def test_run_without_the_sidecar_judges_nothing() -> None:
    assert budgets({"cached-es256": {"haproxy": cell(100.0)}}, {}) == []


def test_sections_bring_their_budgets() -> None:
    sections: dict[str, dict[str, Any]] = {
        "startup": {"sidecar": {"ready_ms": 400, "rss_kb": 50}, "envoy": {"ready_ms": 100, "rss_kb": 100}},
        "idle-connections": {"sidecar": {"kb_per_connection": 38.0}},
        "growth": {"10 rules": {"cpu_us_per_request": 50.0}, "1,000 rules": {"cpu_us_per_request": 60.0}},
        "unnamed-keys": {NAMED: {"cpu_us": 200.0}, UNNAMED: {"cpu_us": 1000.0}},
    }
    measured = [(budget.measured, budget.is_kept) for budget in budgets({}, sections)]
    assert measured == [(400, True), (0.5, True), (38.0, True), (5.0, True), (1.2, False)]


def test_idle_connections_of_both_versions_are_compared() -> None:
    both = {
        "sidecar over h2": {"kb_per_connection": 50.0},
        "sidecar over http/1.1": {"kb_per_connection": 35.0},
    }
    (budget,) = budgets({}, {"idle-http2": both})
    assert (budget.measured, budget.is_kept) == (15.0, False)


def test_tokens_without_kid_are_decided_and_timed() -> None:
    seen = measured_keys(rounds=1)
    assert set(seen) == {NAMED, UNNAMED}
    assert all(cost > 0 for cost in seen.values())


def test_chart_shows_loads_that_measure_cpu(tmp_path: Path) -> None:
    path = tmp_path / "bench.svg"
    draw({"denied": {"sidecar": cell(50.0)}, "idle-connections": {"sidecar": cell(None)}}, path)
    drawn = path.read_text()
    assert "<!-- denied -->" in drawn
    assert "<!-- idle-connections -->" not in drawn


def test_nothing_measured_draws_nothing(tmp_path: Path) -> None:
    draw({"idle-connections": {"sidecar": cell(None)}}, tmp_path / "bench.svg")
    assert not (tmp_path / "bench.svg").exists()
