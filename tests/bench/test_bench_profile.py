"""The profile adds up stacks, and wrk's report is read as it is printed."""

import pytest

from bench.hotspot import hotspots
from bench.witness import wrk_sample

STACKS = """\
main (run.py:1);feed (http1.py:10);verify (jws.py:5) 3
main (run.py:2);feed (http1.py:12) 1
"""

WRK = """\
Running 1s test @ https://127.0.0.1:8443/accounts/1
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.61ms    1.01ms  13.06ms   71.53%
    Req/Sec    12.17k   621.24    13.35k    70.00%
  Latency Distribution
     50%  812.00us
     75%    3.02ms
     90%    3.87ms
     99%    1.50s
  12110 requests in 1.00s, 4.03MB read
Requests/sec:  12103.36
"""


def test_own_time_is_the_innermost_functions_whatever_the_line() -> None:
    found = hotspots(STACKS.splitlines())
    assert found.samples == 4
    assert found.own == {"verify (jws.py)": 75.0, "feed (http1.py)": 25.0}
    assert found.within["main (run.py)"] == 100.0
    assert found.files == {"jws.py": 75.0, "http1.py": 25.0}


def test_recursion_counts_once_a_stack() -> None:
    assert hotspots(["f (a.py:1);f (a.py:2) 5"]).within == {"f (a.py)": 100.0}


def test_wrk_report_gives_requests_and_quantiles_in_milliseconds() -> None:
    sample = wrk_sample(WRK, seconds=1.0, cpu_seconds=0.9, rss_kb=1)
    assert sample.requests == 12110
    assert sample.p50_ms == pytest.approx(0.812)
    assert sample.p99_ms == 1500.0


def test_wrk_that_counted_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="counted no requests"):
        wrk_sample("unable to connect", seconds=1.0, cpu_seconds=0.0, rss_kb=1)
