"""What the sidecar holds at its defaults, and what clients that fill it cost: `make hostile-memory`.

`full`: as many idle connections as there may be by default, and a full memory of verified tokens. `fields`: six hundred
connections, each with a head of as many fields as one read holds, never complete. `stream`: requests on one connection,
14 MiB of them, cut so that no read ends where a head ends. Memory is resident, CPU what the sidecar spent meanwhile.
"""

import json
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from bench.hostile import memory, running, spent
from bench.hostile_client import Wire
from tests.process.world import figures
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import free_port, is_listening
from tests.support.sidecar import Sidecar

BOUND = 256 << 20
"""The chart's limit."""
CONNECTIONS = 3000
"""`limits.connections`."""
BATCH = 500
TOKENS = 64
"""Batches of tokens at most; the memory of them has long been full then."""
FIELDS = 600
STREAM = 14 << 20


def full(sidecar: Sidecar, pki: Pki, key: SigningKey) -> None:
    """Idle connections, and tokens until no more are remembered."""
    held = [Wire(sidecar.port) for _ in range(CONNECTIONS - 1)]
    with sidecar.connect(pki.client) as client:
        before, kept, batches = -1.0, 0.0, 0
        while kept > before and batches < TOKENS:
            for number in range(BATCH):
                token = key.token(pki.client, jti=f"{batches}-{number}-" + "x" * 256)
                assert client.request("GET", "/accounts/1", token=token).status == 200
            before, kept, batches = kept, remembered(sidecar), batches + 1
        print(f"{kept:.0f} tokens remembered, {len(held) + 1} connections")
        # Held until what they take has been looked at.
        report("full", sidecar)
    for wire in held:
        wire.socket.close()


def remembered(sidecar: Sidecar) -> float:
    """As `/metrics` says."""
    return figures(sidecar)[("sidecar_token_cache_entries",)]


def fields(sidecar: Sidecar, _pki: Pki, _key: SigningKey) -> None:
    """Heads that nobody ends."""
    block = b"GET /public/a HTTP/1.1\r\n" + b"a:b\r\n" * 6000
    wires = [Wire(sidecar.port) for _ in range(FIELDS)]
    report("fields, before", sidecar)
    for wire in wires:
        with suppress(OSError):
            wire.socket.sendall(wire.seal(block))
    for wire in wires:
        with suppress(OSError):
            wire.socket.recv(65536)  # it has been read, and answered
    report("fields", sidecar)
    for wire in wires:
        wire.socket.close()


def stream(sidecar: Sidecar, _pki: Pki, _key: SigningKey) -> None:
    """Requests that are refused, in pieces of another length than theirs."""
    request = (
        b"GET /accounts/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer abc\r\nX: " + b"y" * 4000 + b"\r\n\r\n"
    )
    wire = Wire(sidecar.port)
    wire.swallow()
    data, size, begun = request * (STREAM // len(request)), 3 * len(request) + 7, spent(sidecar.process.pid)
    for at in range(0, len(data), size):
        wire.socket.sendall(wire.seal(data[at : at + size]))
    while len(sidecar.access_log()) < STREAM // len(request):
        time.sleep(0.1)
    used = spent(sidecar.process.pid) - begun
    print(f"stream: {used:.1f} s of CPU for {len(data) >> 20} MiB, {STREAM // len(request)} requests")
    report("stream", sidecar)
    wire.socket.close()


def report(what: str, sidecar: Sidecar) -> None:
    """A line."""
    held = memory(sidecar.process.pid)
    rows.append({"what": what, "memory_mib": held >> 20, "good": held < BOUND})
    print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)


rows: list[dict[str, object]] = []
SCENES = {each.__name__: each for each in (full, fields, stream)}


def main(arguments: list[str]) -> int:
    """`[SCENE…]`; 1 when more is held than the chart allows."""
    for name in arguments or list(SCENES):
        port, pki, key = free_port(), Pki.create(), SigningKey.create("ES256")
        with tempfile.TemporaryDirectory() as folder, running("bench.hostile_api", str(port)):
            while not is_listening(port):
                time.sleep(0.05)
            with Sidecar(Path(folder), pki, f"http://127.0.0.1:{port}", keys=[key]) as sidecar:
                SCENES[name](sidecar, pki, key)
    Path("build/hostile-memory.json").write_text(json.dumps(rows, indent=1))
    return 0 if all(row["good"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
