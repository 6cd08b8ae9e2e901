"""Whatever happens to workers while the policy changes, each that serves obeys the newest."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.process.crew.test_workers import state
from tests.process.world import figures, generation, get, sidecar
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar, policy

WORKERS = 3
ROUNDS = 4
BATCH = 12
"""Connections at a time, which the kernel spreads over the workers."""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("newest")
    with sidecar(folder, pki, signing_key, {"workers": WORKERS}, policy_document=data()) as (running, _):
        yield running


def data(**rule: object) -> dict[str, Any]:
    """A policy with one rule for /data. Its name is new each time: what holds the same is no change."""
    return policy(rules=[{"name": f"data-{os.urandom(6).hex()}", "match": {"path": "/data/**"}, **rule}])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def visits(one: Sidecar, target: str) -> list[dict[str, Any]]:
    """The records of a batch of connections without a token."""
    for _ in range(BATCH):
        with one.connect() as wire:
            wire.request("GET", target)

    def records() -> list[dict[str, Any]]:
        return [line for line in one.access_log() if line["path"] == target]

    eventually(lambda: len(records()) == BATCH)
    return records()


def obeyed(one: Sidecar) -> set[tuple[int, int]]:
    """Status and generation of every answer, once each worker has given some."""
    seen: dict[str, set[tuple[int, int]]] = {}
    for number in range(50):
        for line in visits(one, f"/data/{os.urandom(6).hex()}"):
            seen.setdefault(line["request_id"][:16], set()).add((line["status"], line["generation"]))
        if len(seen) == WORKERS and number:
            return set().union(*seen.values())
    raise AssertionError(f"only {len(seen)} of {WORKERS} workers were ever reached")


def test_every_worker_obeys_the_newest_policy_while_workers_are_killed_during_reloads(one: Sidecar) -> None:
    """A worker that began before a change and serves after it would go on with the policy it was started with."""
    now = generation(one)
    for turn in range(ROUNDS):
        wanted, status = (data(public=True), 200) if turn % 2 == 0 else (data(), 401)
        victims = state(one)["workers"]
        kill(victims[turn % WORKERS])
        one.write_policy(wanted)
        kill(victims[(turn + 1) % WORKERS])
        eventually(lambda before=now: generation(one) > before)  # type: ignore[misc]
        eventually(lambda: figures(one)[("sidecar_workers",)] == WORKERS)
        now = generation(one)
        assert obeyed(one) == {(status, now)}


def test_worker_that_is_started_again_says_the_generation_it_obeys(one: Sidecar) -> None:
    before = generation(one)
    one.write_policy(data(public=True))
    eventually(lambda: generation(one) > before)
    for victim in state(one)["workers"]:
        kill(victim)
    eventually(lambda: get(f"{one.health_url}/readyz")[0] == 200)
    eventually(lambda: figures(one)[("sidecar_workers",)] == WORKERS)
    assert obeyed(one) == {(200, before + 1)}
