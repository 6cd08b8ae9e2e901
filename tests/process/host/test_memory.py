"""Memory comes back when connections have gone, and is looked for when it is short."""

import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.process.host.memory import MemoryReturn, cgroup_bytes, watermark

FLOOD = """
import ctypes, gc
from sidecar.process.host.hardening import resident_bytes
from sidecar.process.host.memory import give_back
# Small blocks with something between them that stays: what a flood of connections leaves behind.
held = [bytes(3000) for _ in range(30_000)]
kept = held[::50]
full = resident_bytes()
del held
gc.collect()
give_back()
print(full - resident_bytes())
"""


class Host:
    def __init__(self) -> None:
        self.connections = self.peak = 0
        self.given = 0
        self.memory = MemoryReturn(lambda: self.connections, lambda: self.peak, self._give)

    def _give(self) -> None:
        self.given += 1

    def looks(self, *counts: int) -> int:
        for self.connections in counts:
            self.memory.look()
        return self.given


def test_memory_is_given_back_when_many_connections_have_gone() -> None:
    host = Host()
    assert host.looks(0, 1000, 4000, 3900) == 0
    assert host.looks(2900) == 1
    assert host.looks(2900, 2800, 2700) == 1


def test_flood_that_comes_and_goes_between_two_looks_is_noticed() -> None:
    host = Host()
    host.looks(3)
    host.peak = 3000
    assert host.looks(3) == 1
    host.peak = 3
    assert host.looks(*[3] * 10) == 1


def test_flood_seen_while_it_leaves_gives_its_rest_back_too() -> None:
    host = Host()
    assert host.looks(600, 200) == 1
    assert host.looks(*[100] * 10) == 1
    assert host.looks(3) == 2
    assert host.looks(*[100, 3] * 10) == 2, "these are few, and no flood's"


def test_rest_of_a_flood_that_is_next_to_nothing_is_not_looked_at_again() -> None:
    host = Host()
    assert host.looks(600, 31, *[0] * 10) == 1


def test_rest_of_a_flood_waits_for_the_distance_between_calls() -> None:
    host = Host()
    assert host.looks(600, 250, 0, 0, 0, 0) == 1
    assert host.looks(0) == 2


def test_few_connections_are_not_worth_it() -> None:
    assert Host().looks(200, 0, 200, 0) == 0


def test_calls_keep_a_distance() -> None:
    host = Host()
    assert host.looks(4000, 0, 4000, 0, 4000, 0) == 1
    assert host.looks(0, 0) == 2


def test_short_memory_is_looked_for_whoever_is_there() -> None:
    host = Host()
    assert host.memory.look(is_short=True)
    assert not host.memory.look(is_short=True)
    assert host.given == 1


def test_what_nobody_uses_comes_back_from_the_c_library() -> None:
    done = subprocess.run([sys.executable, "-c", FLOOD], capture_output=True, check=True, timeout=60)
    assert int(done.stdout) > 40 << 20


@pytest.mark.parametrize(
    ("name", "said", "bytes_"),
    [
        ("memory.max", "268435456\n", 256 << 20),
        ("memory.max", "max\n", 0),
        ("memory/memory.limit_in_bytes", "268435456\n", 256 << 20),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", 0),
        ("elsewhere", "1", 0),
    ],
)
def test_limit_of_the_container_is_what_its_cgroup_says(
    tmp_path: Path, name: str, said: str, bytes_: int
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(said)
    assert cgroup_bytes(tmp_path) == bytes_


def test_watermark_is_what_was_chosen_else_a_part_of_the_limit() -> None:
    assert watermark(None, 1, 256 << 20) == int((256 << 20) * 0.85)
    assert watermark(0, 1, 256 << 20) == 0
    assert watermark(1 << 20, 4, 256 << 20) == 1 << 20
    assert watermark(None, 1, 0) == 0
    assert watermark(None, 2, 256 << 20) * 2 + (40 << 20) <= (256 << 20) * 0.85 < 256 << 20
