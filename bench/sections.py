"""Measurements that are no steady stream of requests: memory, start-up, very large bodies, refusals, growth."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.loads import IDLE, LOADS, Window, es256_token
from bench.options import Options
from bench.peers import PEERS
from bench.report import markdown
from bench.sample import Figures
from bench.statistic import spread
from bench.token_requests import measured as measured_token_requests
from bench.unnamed_keys import measured as measured_keys
from bench.world import Drive, Running, World

_GIBIBYTE = 1 << 30
IDLE_OF_BOTH = 2_000  # connections
_LONG = 300.0  # seconds: as long as it takes


@dataclass(frozen=True, slots=True)
class Section:
    """A table of its own, the same numbers as plain data, and cells for `build/bench.json` if it has any."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    data: dict[str, Any]
    cells: dict[str, Figures] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.title}\n\n{markdown(self.head, self.rows)}"


def idle_connections(world: World, options: Options) -> Section:
    """10,000 connections that each made one request and stay open: resident memory."""
    data: dict[str, Any] = {}
    cells: dict[str, Figures] = {}
    token = es256_token(world.material)
    for name in options.proxies:
        running = world.start(PEERS[name])
        world.check(running, token)
        before, during = world.hold(running, Drive(token, {"connections": IDLE, "idle": 1}))
        world.stop(running)
        each = (during - before) / IDLE
        data[name] = {
            "connections": IDLE,
            "before_kb": before,
            "rss_kb": during,
            "kb_per_connection": round(each, 2),
        }
        cells[name] = Figures(
            cpu_us_per_request=None, requests_per_second=None, p50_ms=None, p99_ms=None, rss_kb=during
        )
    rows = [
        (name, f"{d['before_kb'] / 1024:.1f}", f"{d['rss_kb'] / 1024:.1f}", f"{d['kb_per_connection']:.1f}")
        for name, d in data.items()
    ]
    head = ("peer", "MB before", "MB", "kB per connection")
    return Section(f"{IDLE:,} idle connections", head, rows, data, cells)


def idle_http2(world: World, options: Options) -> Section:
    """The same with 2,000 connections by a client that speaks either version."""
    token = es256_token(world.material)
    data: dict[str, Any] = {}
    for name in [each for each in options.proxies if PEERS[each].http2]:
        for protocol in ("http/1.1", "h2"):
            running = world.start(PEERS[name], http2=True)
            world.check(running, token)
            before, during = world.hold_with(running, token, protocol, IDLE_OF_BOTH)
            world.stop(running)
            each = round((during - before) / IDLE_OF_BOTH, 2)
            data[f"{name} over {protocol}"] = {"rss_kb": during, "kb_per_connection": each}
    rows = [(name, f"{d['rss_kb'] / 1024:.1f}", f"{d['kb_per_connection']:.1f}") for name, d in data.items()]
    head = ("peer", "MB", "kB per connection")
    return Section(f"{IDLE_OF_BOTH:,} idle connections of either version", head, rows, data)


def startup(world: World, options: Options) -> Section:
    """From exec to the first right answer (the client's own start included), and memory then."""
    token = es256_token(world.material)
    seen: dict[str, list[tuple[float, int]]] = {name: [] for name in options.proxies}
    for _ in range(options.rounds):
        for name in options.proxies:
            begun = time.monotonic()
            running = world.start(PEERS[name])
            world.drive(running, Drive(token, {"connections": 1, "requests": 1}))
            seconds = time.monotonic() - begun
            seen[name].append((seconds, running.process.rss_kb()))
            world.stop(running)
    data = {
        name: {
            "ready_ms": spread([s * 1e3 for s, _ in pairs]).middle,
            "rss_kb": spread([kb for _, kb in pairs]).middle,
        }
        for name, pairs in seen.items()
    }
    rows = [(name, f"{d['ready_ms']:.0f}", f"{d['rss_kb'] / 1024:.1f}") for name, d in data.items()]
    return Section("start-up", ("peer", "ms to first answer", "resident MB"), rows, data)


def gibibyte(world: World, options: Options) -> Section:
    """One body of 1 GiB each way."""
    token = es256_token(world.material)
    one: dict[str, str | int | float] = {"connections": 1, "requests": 1, "seconds": _LONG}
    ways: dict[str, dict[str, str | int | float]] = {
        "down": {"path": "/files/1GiB"},
        "up": {"path": "/upload", "upload": _GIBIBYTE},
    }
    data: dict[str, Any] = {}
    for name in options.proxies:
        running = world.start(PEERS[name])
        world.check(running, token)
        for way, more in ways.items():
            sample = world.drive(running, Drive(token, {**one, **more}))
            data.setdefault(name, {})[way] = {
                "cpu_seconds": sample.cpu_seconds,
                "seconds": sample.seconds,
                "peak_kb": running.process.peak_kb(),
            }
        world.stop(running)
    rows = [
        (name, way, f"{d['cpu_seconds']:.2f}", f"{d['seconds']:.2f}", f"{d['peak_kb'] / 1024:.1f}")
        for name, ways_of in data.items()
        for way, d in ways_of.items()
    ]
    return Section("a body of 1 GiB", ("peer", "way", "CPU s", "s", "peak resident MB"), rows, data)


def denials(world: World, options: Options) -> Section:
    """What each kind of refusal costs the sidecar, beside what it costs to permit."""
    material, window = world.material, Window(options.seconds, options.warmup)
    cached = LOADS["cached-es256"].drive(material, window, 1)
    forged = material.tokens("forged", 1, material.forged)
    expired = material.tokens("expired", 1, material.expired)
    garbage = material.tokens("garbage", 1, lambda _: "not-a-token")
    kinds: dict[str, Drive] = {
        "permitted": cached,
        "bound to another certificate": replace(cached, other_certificate=True).having(expect=401),
        "forged signature": replace(cached, tokens=forged).having(expect=401),
        "expired": replace(cached, tokens=expired).having(expect=401),
        "no JWT": replace(cached, tokens=garbage).having(expect=401),
        "no rule": cached.having(expect=403, path="/nowhere"),
    }
    running = world.start(PEERS["sidecar"])
    seen = _interleaved(world, options, {kind: (running, drive) for kind, drive in kinds.items()})
    world.stop(running)
    return _cpu_section("refusals by the sidecar", "request", seen)


def growth(world: World, options: Options) -> Section:
    """Rules, cached tokens, connections and workers from few to many, on the sidecar."""
    seen: dict[str, list[float]] = {}
    for axis in (_rules, _cached_tokens, _connections, _workers):
        pairs = axis(world, options)
        seen.update(_interleaved(world, options, pairs))
        for running in {id(running): running for running, _ in pairs.values()}.values():
            world.stop(running)
    return _cpu_section("growth of the sidecar", "world", seen)


def unnamed_keys(world: World, options: Options) -> Section:
    """New tokens without `kid`, where eight keys fit: what each of them costs more."""
    del world  # in this process
    seen = measured_keys(options.rounds)
    data = {kind: {"cpu_us": round(cost, 1)} for kind, cost in seen.items()}
    rows = [(kind, f"{cost:.1f}") for kind, cost in seen.items()]
    return Section(
        "new tokens, by how their key is found", ("token", "CPU µs/decision, in process"), rows, data
    )


def token_requests(world: World, options: Options) -> Section:
    """What a token request costs in front of an authorization server, beside an ordinary POST of its size."""
    seen = measured_token_requests(world, options.seconds, options.warmup, options.rounds)
    return _cpu_section("in front of an authorization server", "request", seen)


def witness(world: World, options: Options) -> Section:
    """The cached load by our client and by wrk, in turn: does the client's choice change the answer?"""
    token, drive = es256_token(world.material), _cached(world, options)
    running = [world.start(PEERS[name]) for name in options.proxies]
    seen: dict[str, list[float]] = {
        f"{name} {by}": [] for name in options.proxies for by in ("by load", "by wrk")
    }
    for _ in range(options.rounds):
        for peer in running:
            ours, theirs = world.drive(peer, drive), world.drive_with_wrk(peer, token, options.seconds)
            seen[f"{peer.peer.name} by load"].append(ours.cpu_us_per_request)
            seen[f"{peer.peer.name} by wrk"].append(theirs.cpu_us_per_request)
    for peer in running:
        world.stop(peer)
    return _cpu_section("our load client and wrk, whose figure includes its 32 handshakes", "peer", seen)


_Pairs = dict[str, tuple[Running, Drive]]


def _cached(world: World, options: Options) -> Drive:
    return LOADS["cached-es256"].drive(world.material, Window(options.seconds, options.warmup), 1)


def _rules(world: World, options: Options) -> _Pairs:
    drive = _cached(world, options)
    return {f"{n:,} rules": (world.start(PEERS["sidecar"], rules=n), drive) for n in (10, 100, 1000)}


def _cached_tokens(world: World, options: Options) -> _Pairs:
    """Each token is shown once before, so that the cache holds them all; then one is used, or all in turn."""
    pairs: _Pairs = {}
    most = 100_000
    tokens = world.material.tokens("cached", most, world.material.es256)
    timing: dict[str, str | int | float] = {"seconds": options.seconds, "warmup": options.warmup}
    for n in (1, 1000, most):
        running = world.start(PEERS["sidecar"], cached_tokens=2 * most)
        some = Drive(tokens, {"connections": 32, "limit": n})
        world.drive(running, some.having(seconds=_LONG, once=1))
        pairs[f"{n:,} cached tokens"] = (running, Drive(tokens, {"connections": 32, "limit": 1, **timing}))
        if n == most:
            pairs[f"{n:,} tokens in turn"] = (running, some.having(**timing))
    return pairs


def _connections(world: World, options: Options) -> _Pairs:
    running, drive = world.start(PEERS["sidecar"]), _cached(world, options)
    return {f"{n:,} connections": (running, drive.having(connections=n)) for n in (1, 32, 2000)}


def _workers(world: World, options: Options) -> _Pairs:
    drive = _cached(world, options)
    return {f"{n} workers": (world.start(PEERS["sidecar"], workers=n), drive) for n in (1, 2)}


def _interleaved(world: World, options: Options, pairs: _Pairs) -> dict[str, list[float]]:
    seen: dict[str, list[float]] = {label: [] for label in pairs}
    for _ in range(options.rounds):
        for label, (running, drive) in pairs.items():
            seen[label].append(world.drive(running, drive).cpu_us_per_request)
    return seen


def _cpu_section(title: str, what: str, seen: dict[str, list[float]]) -> Section:
    spreads = {label: spread(values) for label, values in seen.items()}
    data = {
        label: {"cpu_us_per_request": round(s.middle, 1), "spread": round(s.percent, 1)}
        for label, s in spreads.items()
    }
    rows = [(label, f"{s.middle:.1f}", f"{s.percent:.0f} %") for label, s in spreads.items()]
    return Section(title, (what, "CPU µs/request", "±"), rows, data)


RUN: dict[str, Callable[[World, Options], Section]] = {
    "idle-connections": idle_connections,
    "idle-http2": idle_http2,
    "startup": startup,
    "gibibyte": gibibyte,
    "denials": denials,
    "growth": growth,
    "unnamed-keys": unnamed_keys,
    "token-requests": token_requests,
    "witness": witness,
}
OURS_ALONE = frozenset({"denials", "growth", "unnamed-keys", "token-requests"})
