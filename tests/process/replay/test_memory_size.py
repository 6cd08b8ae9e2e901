"""What half a million used proofs take of a process, measured from outside of what the memory says of itself."""

import subprocess
import sys

SCRIPT = """
import time
from pathlib import Path
from sidecar.decision.proof import Claim
from sidecar.decision.replay import ENTRIES, ReplayMemory

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

memory = ReplayMemory(b"key", time.monotonic)
memory.claim(Claim(bytes(32), "first", 1000, 1000))
before = resident()
for at in range(1, ENTRIES):
    assert memory.claim(Claim((at // 1000).to_bytes(32, "big"), f"jti-{at}", 1000 + at % 90, 1000))
assert len(memory) == ENTRIES
print(resident() - before, memory.size)
"""


def test_half_a_million_proofs_take_less_than_60_megabytes_of_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=120
    )
    grown, said = map(int, done.stdout.split())
    assert grown <= 60_000_000
    assert grown <= said * 1.25, "the memory's own account of it is about right"
