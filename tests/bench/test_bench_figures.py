"""The benchmark's arithmetic and its documents: what it prints must be what was measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.h2load import Said, Streams, read
from bench.report import API, added_latency, figures, markdown, table
from bench.sample import Sample
from bench.statistic import ratio, spread


def sample(cpu_us: float, *, requests: int = 1000, rss_kb: int = 2048) -> Sample:
    return Sample(
        requests=requests,
        seconds=2.0,
        cpu_seconds=cpu_us * requests / 1e6,
        p50_ms=1.0,
        p99_ms=3.0,
        p999_ms=9.0,
        rss_kb=rss_kb,
        connects=10,
        resumed=9,
    )


def test_spread_is_median_and_extremes() -> None:
    found = spread([30.0, 10.0, 20.0])
    assert (found.middle, found.low, found.high) == (20.0, 10.0, 30.0)
    assert found.percent == 50.0


def test_one_round_has_no_spread() -> None:
    assert spread([7.0]).percent == 0.0


def test_no_rounds_is_an_error() -> None:
    with pytest.raises(ValueError, match="no rounds"):
        spread([])


def test_ratio_to_nothing_is_no_number() -> None:
    assert ratio(1.0, 0.0) is None
    assert ratio(1.0, 4.0) == 0.25


def test_cpu_per_request_divides_all_cpu_by_completed_requests() -> None:
    assert sample(50.0).cpu_us_per_request == pytest.approx(50.0)
    assert sample(50.0).requests_per_second == 500.0


def test_share_of_resumed_sessions_counts_connections_of_the_window() -> None:
    assert sample(50.0).resumed_share == 0.9


def test_document_has_exactly_the_promised_shape() -> None:
    document = figures({"cached-es256": {"sidecar": [sample(40.0), sample(60.0), sample(50.0)]}})
    assert document == {
        "cached-es256": {
            "sidecar": {
                "cpu_us_per_request": 50.0,
                "requests_per_second": 500.0,
                "p50_ms": 1.0,
                "p99_ms": 3.0,
                "rss_kb": 2048,
            }
        }
    }


def test_table_gives_the_sidecars_cost_in_each_peers_terms() -> None:
    printed = table({"denied": {"sidecar": [sample(50.0)], "haproxy": [sample(100.0)]}})
    ours, theirs = printed.splitlines()[2:]
    assert [cell.strip() for cell in ours.split("|")[1:6]] == ["denied", "sidecar", "50.0", "0 %", ""]
    assert [cell.strip() for cell in theirs.split("|")[1:6]] == [
        "denied",
        "haproxy",
        "100.0",
        "0 %",
        "0.50 ×",
    ]


def test_table_without_the_sidecar_compares_nothing() -> None:
    assert "×" not in table({"denied": {"haproxy": [sample(100.0)]}})


def test_markdown_table_is_aligned() -> None:
    lines = markdown(("name", "n"), [("a", "1"), ("bcdefg", "20")]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "|--------|---:|"


def test_added_latency_is_what_the_proxy_adds_to_the_api() -> None:
    alone = replace(sample(5.0), p50_ms=0.2, p99_ms=0.5, p999_ms=1.0)
    printed = added_latency({"latency": {API: [alone], "sidecar": [sample(50.0)]}})
    base, ours = printed.splitlines()[2:]
    assert [cell.strip() for cell in base.split("|")[1:5]] == ["the API alone", "0.20", "0.50", "1.00"]
    assert [cell.strip() for cell in ours.split("|")[1:5]] == ["sidecar", "+0.80", "+2.50", "+8.00"]


def test_baseline_is_no_peer() -> None:
    results = {"latency": {API: [sample(5.0)], "sidecar": [sample(50.0)]}}
    assert list(figures(results)["latency"]) == ["sidecar"]
    assert "api" not in table(results)
    assert added_latency({"denied": {"sidecar": [sample(50.0)]}}) == ""


PRINTED = """
finished in 1.01s, 88640.00 req/s, 12.18MB/s
requests: 88640 total, 88672 started, 88640 done, 88640 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 88630 2xx, 0 3xx, 10 4xx, 0 5xx
traffic: 12.18MB (12767985) total, 952.30KB (975151) headers (space savings 93.64%), 8.88MB (9307200) data
"""


def test_h2load_is_read() -> None:
    said = read(PRINTED)
    assert said == Said(done=88640, permitted=88630, refused=10, content=9307200, seconds=1.01)
    cell = figures({"http2-1x32": {"sidecar": [said.sample(2.0, 2048)]}})["http2-1x32"]["sidecar"]
    assert (cell["cpu_us_per_request"], cell["p50_ms"]) == (22.6, None)
    assert "88640" not in table({"http2-1x32": {"sidecar": [said.sample(2.0, 2048)]}})


@pytest.mark.parametrize(
    "printed", ["", PRINTED.replace("88640 done", "0 done"), PRINTED.replace("0 errored", "3 errored")]
)
def test_requests_that_had_no_answer_are_no_figure(printed: str) -> None:
    with pytest.raises(ValueError, match="h2load"):
        read(printed)


def test_h2load_is_asked_for_what_the_load_is(tmp_path: Path) -> None:
    words = Streams(32, 8).arguments("a.b.c", http1=False)
    assert {"--clients=32", "--max-concurrent-streams=8", "authorization: Bearer a.b.c"} <= set(words)
    assert {"--h1", "--clients=32", "--max-concurrent-streams=1"} <= set(
        Streams(1, 32).arguments("a", http1=True)
    )
    call = Streams(1, 32, "/a.B/C", tmp_path).arguments("a", http1=False)
    assert {"content-type: application/grpc", "te: trailers", f"--data={tmp_path}"} <= set(call)
