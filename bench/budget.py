"""The budgets: what the sidecar may cost, as ratios and limits within one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.sample import Figures
from bench.statistic import ratio
from bench.token_requests import ORDINARY, TOKEN
from bench.unnamed_keys import KEYS, NAMED, UNNAMED

Document = Mapping[str, Mapping[str, Figures]]
Sections = Mapping[str, Mapping[str, Any]]

_RATIOS = (  # load, peer, at most so many times that peer's CPU per request
    ("cached-es256", "envoy-cached", 0.8),
    ("cached-es256", "apache-mod_oauth2", 0.15),
    ("cached-es256", "haproxy", 0.5),
    ("cached-rs256", "haproxy", 1.0),
    ("cached-es256", "nginx-tls-only", 2.2),
    ("handshake-full", "haproxy", 1.3),
    ("http2-1x32", "envoy-cached", 0.6),
    ("http2-32x8", "envoy-cached", 0.6),
    ("http2-1x32", "sidecar-http1", 1.0),
    ("http2-32x8", "sidecar-http1", 1.15),
    ("grpc-unary", "envoy-cached", 0.4),
)
_FLAT = 1.05  # from few to many
_GROWTH = (
    ("10 rules", "1,000 rules"),
    ("1 cached tokens", "100,000 cached tokens"),
    ("1 cached tokens", "100,000 tokens in turn"),
)
_TOKEN_REQUEST = 1.3
_IDLE_KB = 40.0  # per idle connection
_HTTP2_KB = 12.0  # of HTTP/2 more than of HTTP/1.1
_READY_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Budget:
    """One promise, what was measured, and whether it held."""

    promise: str
    measured: float
    limit: float

    @property
    def is_kept(self) -> bool:
        return self.measured <= self.limit

    def row(self) -> list[str]:
        over = "kept" if self.is_kept else f"missed by {100 * (self.measured / self.limit - 1):.0f} %"
        return [self.promise, f"{self.measured:.2f}", f"{self.limit:.2f}", over]


def budgets(figures: Document, sections: Sections) -> list[Budget]:
    """Every budget that this run can tell about; a run of a few loads tells about a few."""
    found = []
    for load, peer, limit in _RATIOS:
        times = ratio(_cpu(figures, load, "sidecar"), _cpu(figures, load, peer))
        found.append(times and Budget(f"{load}: CPU per request ÷ {peer}'s", times, limit))
    denied = ratio(_cpu(figures, "denied", "sidecar"), _cpu(figures, "cached-es256", "sidecar"))
    found.append(denied and Budget("CPU of a denied ÷ a permitted request", denied, 1.0))
    return [budget for budget in found if budget] + _sections(sections)


def _cpu(figures: Document, load: str, peer: str) -> float:
    """0 when this run did not measure it."""
    cell = figures.get(load, {}).get(peer)
    return (cell["cpu_us_per_request"] or 0.0) if cell else 0.0


def _sections(sections: Sections) -> list[Budget]:
    found = []
    started = sections.get("startup", {})
    if "sidecar" in started:
        found.append(Budget("ms from start to first answer", started["sidecar"]["ready_ms"], _READY_MS))
        if "envoy" in started:
            times = started["sidecar"]["rss_kb"] / started["envoy"]["rss_kb"]
            found.append(Budget("resident memory at start ÷ envoy's", times, 1.0))
    idle = sections.get("idle-connections", {})
    if "sidecar" in idle:
        found.append(Budget("kB per idle connection", idle["sidecar"]["kb_per_connection"], _IDLE_KB))
    two = sections.get("idle-http2", {})
    if "sidecar over h2" in two and "sidecar over http/1.1" in two:
        more = two["sidecar over h2"]["kb_per_connection"] - two["sidecar over http/1.1"]["kb_per_connection"]
        found.append(Budget("kB of an idle connection of HTTP/2 − of HTTP/1.1", more, _HTTP2_KB))
    keys = sections.get("unnamed-keys", {})
    if NAMED in keys and UNNAMED in keys:
        times = keys[UNNAMED]["cpu_us"] / keys[NAMED]["cpu_us"]
        found.append(
            Budget(f"a new token without kid, {KEYS} keys that fit ÷ one that names its key", times, KEYS)
        )
    asked = sections.get("token-requests", {})
    if ORDINARY in asked and TOKEN in asked:
        times = asked[TOKEN]["cpu_us_per_request"] / asked[ORDINARY]["cpu_us_per_request"]
        found.append(Budget(f"CPU of {TOKEN} ÷ {ORDINARY}", times, _TOKEN_REQUEST))
    grown = sections.get("growth", {})
    for few, many in _GROWTH:
        if few in grown and many in grown:
            times = grown[many]["cpu_us_per_request"] / grown[few]["cpu_us_per_request"]
            found.append(Budget(f"CPU per request: {many} ÷ {few}", times, _FLAT))
    return found
