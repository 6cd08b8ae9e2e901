"""Runs loads: peers of a load up together, shown to do the job, then driven in turn, round by round."""

from collections.abc import Callable
from pathlib import Path

from bench.loads import LOADS, Load, Window, es256_token
from bench.options import Options
from bench.peers import PEERS, Peer
from bench.process import BenchFailed
from bench.report import API
from bench.sample import Sample
from bench.world import Running, World

Results = dict[str, dict[str, list[Sample]]]  # load → peer → one sample a round
Say = Callable[[str], None]
_RESUMED_AT_LEAST = 0.5


def run_loads(world: World, options: Options, say: Say) -> Results:
    """Every chosen load on every chosen peer that can be asked for it."""
    results: Results = {}
    for name in options.loads:
        load = LOADS[name]
        peers = [PEERS[peer] for peer in options.peers if load.takes(PEERS[peer])]
        if peers:
            results[name] = _run_load(world, load, peers, options, say)
    return results


def _run_load(
    world: World, load: Load, peers: list[Peer], options: Options, say: Say
) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {peer.name: [] for peer in peers}
    running = [started(world, load, peer) for peer in peers]
    try:
        for peer in running:
            prepare(world, load, peer)
        for number in range(options.rounds):
            window = Window(options.seconds, options.warmup, number)
            drive = load.drive(world.material, window, options.rounds)
            if load.against_api:
                samples.setdefault(API, []).append(world.drive_api(drive))
            for at, peer in enumerate(_rotated(running, number)):
                if load.dpop and at:
                    drive = load.drive(world.material, window, options.rounds)
                sample = world.drive(peer, drive)
                _require_resumption(load, peer, sample)
                samples[peer.peer.name].append(sample)
                say(f"{load.name} {number + 1}: {peer.peer.name} {sample.cpu_us_per_request:.1f} µs/request")
    finally:
        for peer in running:
            world.stop(peer)
    return samples


def started(world: World, load: Load, peer: Peer) -> Running:
    """Starts a peer as the load wants it, and what the load needs beside it."""
    if load.opaque:
        world.start_issuer()
    if load.grpc:
        world.start_grpc_api()
    return world.start(peer, opaque=load.opaque, dpop=load.dpop, http2=load.http2, grpc=load.grpc)


def prepare(world: World, load: Load, running: Running) -> None:
    """Shows that the peer does the job, and shows it the tokens it may remember."""
    streams = load.drive(world.material, Window(0, 0), 1).streams if load.http2 else None
    if load.dpop:
        world.check_proofs(running)
    elif streams is not None:
        world.check_streams(running, _check_token(world, load), streams)
    else:
        world.check(running, _check_token(world, load))
    if load.primed:
        world.prime(running, load.drive(world.material, Window(0, 0), 1).tokens)


def _check_token(world: World, load: Load) -> Path:
    if load.opaque:
        return world.material.tokens("opaque-check", 1, lambda _: "opaque-check")
    return es256_token(world.material)


def _rotated(running: list[Running], number: int) -> list[Running]:
    """Another peer goes first in each round, so that no one always follows the same one."""
    start = number % len(running)
    return running[start:] + running[:start]


def _require_resumption(load: Load, running: Running, sample: Sample) -> None:
    if load.resumes and sample.resumed_share < _RESUMED_AT_LEAST:
        share = f"{100 * sample.resumed_share:.0f} % of sessions"
        raise BenchFailed(f"{running.peer.name} resumed only {share} under {load.name}")
