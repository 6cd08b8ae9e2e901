"""Figures: counted, merged over workers, and exposed as Prometheus reads them."""

import json
import random
from bisect import bisect_left

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.telemetry.exposition import exposed
from sidecar.telemetry.families import FAMILIES, LATENCY, Kind, Merge
from sidecar.telemetry.metrics import (
    Histogram,
    Metrics,
    Sample,
    Snapshot,
    merged,
    only_counts,
    restored,
    total,
)


def samples(snapshot: Snapshot) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposed(snapshot).decode())
        for sample in family.samples
    }


def filled() -> Metrics:
    metrics = Metrics()
    metrics.increment("sidecar_requests_total", "accounts", "permit", "none", by=3)
    metrics.increment("sidecar_requests_total", "accounts", "deny", "token_expired")
    for value in (0.0001, 0.0005, 0.002, 100.0):
        metrics.histogram("sidecar_request_duration_seconds").observe(value)
    metrics.set("sidecar_configuration_generation", value=4)
    return metrics


def test_counters_gauges_and_histograms_are_exposed() -> None:
    found = samples(filled().snapshot())
    labels = (("outcome", "permit"), ("reason", "none"), ("rule", "accounts"))
    assert found[("sidecar_requests_total", labels)] == 3
    assert found[("sidecar_configuration_generation", ())] == 4
    assert found[("sidecar_request_duration_seconds_bucket", (("le", "0.0005"),))] == 2
    assert found[("sidecar_request_duration_seconds_bucket", (("le", "60.0"),))] == 3
    assert found[("sidecar_request_duration_seconds_bucket", (("le", "+Inf"),))] == 4
    assert found[("sidecar_request_duration_seconds_count", ())] == 4
    assert found[("sidecar_request_duration_seconds_sum", ())] == pytest.approx(100.0026)


def test_bucket_of_a_value_does_not_depend_on_the_values_before_it() -> None:
    chosen = random.Random(1)
    values = [chosen.choice([0.0, *LATENCY, 61.0]) + chosen.choice([-1e-9, 0.0, 1e-9]) for _ in range(2000)]
    histogram, wanted = Histogram(LATENCY), [0] * (len(LATENCY) + 1)
    for value in values:
        histogram.observe(value)
        wanted[bisect_left(LATENCY, value)] += 1
        assert histogram.counts == wanted
    assert histogram.sum == pytest.approx(sum(values))


def test_metric_without_a_value_yet_is_exposed_as_zero_or_named() -> None:
    text = exposed(Metrics().snapshot()).decode()
    for family in FAMILIES.values():
        assert f"# TYPE {family.name} {family.kind.value}" in text
    assert "sidecar_connections 0.0" in text


def test_hostile_label_values_are_escaped() -> None:
    metrics = Metrics()
    rule = 'a"b\\c\nd'
    metrics.increment("sidecar_requests_total", rule, "permit", "none")
    assert (
        samples(metrics.snapshot())[
            ("sidecar_requests_total", (("outcome", "permit"), ("reason", "none"), ("rule", rule)))
        ]
        == 1
    )


def test_sources_are_asked_at_the_scrape() -> None:
    metrics, asked = Metrics(), []

    def source() -> list[Sample]:
        asked.append(1)
        return [Sample("sidecar_jwks_age_seconds", ("https://as.example.com",), 12.0)]

    metrics.sources.append(source)
    assert not asked
    assert (
        samples(metrics.snapshot())[("sidecar_jwks_age_seconds", (("issuer", "https://as.example.com"),))]
        == 12.0
    )


def test_figures_of_workers_become_one_each_in_its_own_way() -> None:
    one, other = filled(), filled()
    other.set("sidecar_configuration_generation", value=3)
    one.set("sidecar_configuration_stale", value=1)
    other.set("sidecar_configuration_stale", value=0)
    other.increment("sidecar_requests_total", "public", "permit", "none")
    crossed = [restored(json.loads(json.dumps(metrics.snapshot()))) for metrics in (one, other)]
    sum_of_both = merged(crossed)
    assert total(sum_of_both, "sidecar_requests_total") == 9
    assert total(sum_of_both, "sidecar_requests_total", {"rule": "accounts", "outcome": "permit"}) == 6
    assert total(sum_of_both, "sidecar_configuration_generation") == 3
    assert total(sum_of_both, "sidecar_configuration_stale") == 1
    found = samples(sum_of_both)
    assert found[("sidecar_request_duration_seconds_count", ())] == 8
    assert found[("sidecar_request_duration_seconds_bucket", (("le", "+Inf"),))] == 8


def test_snapshot_that_crossed_is_what_it_was() -> None:
    snapshot = filled().snapshot()
    assert restored(json.loads(json.dumps(snapshot))) == snapshot


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {"sidecar_surprises_total": []},
        {"sidecar_connections": None},
        {"sidecar_connections": [7]},
        {"sidecar_connections": [[[], [1], 2]]},
        {"sidecar_connections": [[["extra"], [1]]]},
        {"sidecar_connections": [[[], []]]},
        {"sidecar_connections": [[[], ["1"]]]},
        {"sidecar_connections": [[[], [True]]]},
        {"sidecar_token_cache_total": [[[7], [1]]]},
        {"sidecar_request_duration_seconds": [[[], [1.0, 2.0]]]},
    ],
)
def test_figures_that_no_worker_would_tell_are_refused(said: object) -> None:
    with pytest.raises(ValueError, match=r"figure|label"):
        restored(said)


def test_of_a_worker_that_is_gone_counts_stay_and_gauges_go() -> None:
    kept = only_counts(filled().snapshot())
    assert total(kept, "sidecar_requests_total") == 4
    assert "sidecar_configuration_generation" not in kept


def test_unknown_metric_is_an_error() -> None:
    with pytest.raises(KeyError):
        Metrics().increment("sidecar_surprises_total")


def test_every_row_of_the_table_can_be_merged() -> None:
    for family in FAMILIES.values():
        assert family.kind is Kind.GAUGE or family.merge is Merge.SUM, family.name
        assert (family.kind is Kind.HISTOGRAM) == bool(family.buckets), family.name
        assert list(family.buckets) == sorted(set(family.buckets)), family.name
