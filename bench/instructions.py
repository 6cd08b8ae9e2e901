"""How many instructions a request costs, and in which functions: callgrind's count, the same whatever else runs.

`python -m bench.instructions [KIND …]`, by default all of `KINDS`. One request after another through one connection in
this process, TLS and all, without sockets, as in `bench.parts`; what the client's side of the TLS costs is counted
apart and taken off. `dpop`: a request with a proof of its own (RFC 9449), claimed in the memory of this process; beside
it stands what one verification of an ES256 signature takes, and the ratio to that plus a permitted request. `post`,
`token`, `revoke`: a form to an ordinary resource, with a token that is known, and to two endpoints of an authorization
server, the first of which audits what is issued. `http2`, `grpc`: over HTTP/2 to an API that speaks HTTP/1.1, and a
unary call to one that speaks HTTP/2; with `-8`, eight at once.

Instructions are no time, but they do not scatter: what a change brought can be seen on a busy machine.
"""

import asyncio
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from bench.packages import install
from bench.process import BenchFailed, run
from sidecar.decision.jose import is_signature
from sidecar.decision.jwk import parse_jwk
from sidecar.decision.replay import ReplayMemory
from sidecar.decision.strict import base64url
from sidecar.process.host.loop import event_loop
from tests.support.measured import World
from tests.support.measured_endpoint import EndpointWorld
from tests.support.measured_http2 import GrpcWorld, Http2World
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.proofs import Prover

STREAMS: Final = {"http2": 1, "http2-8": 8, "grpc": 1, "grpc-8": 8}
"""Kinds over HTTP/2, and how many requests at once."""
KINDS: Final = ("permitted", "denied", "dpop", "post", "token", "revoke", *STREAMS)
_POSTED: Final = {"post": "/accounts/1", "token": "/token", "revoke": "/revoke"}
_WARM, _COUNTED = 100, 200
_SHOWN = 40
_ROW: Final = re.compile(r"\s*([\d,]+) \([\d.]+%\)\s+(?:\S*:CPyDef_(\S+)|PROGRAM TOTALS)")


def main(arguments: list[str]) -> int:
    """Prints a table for each kind; 1 when it cannot be counted."""
    if arguments[:1] == ["--inside"]:
        with asyncio.Runner(
            loop_factory=event_loop
        ) as runner:  # the loop that the server runs on, and its clock
            runner.run(_drive(arguments[1]))
            os._exit(0)  # callgrind has its figures; what is torn down now would only take time
    try:
        _require()
        for kind in arguments or KINDS:
            _print(kind)
    except BenchFailed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    return 0


def _require() -> None:
    if not shutil.which("valgrind"):
        install(["valgrind"])
    if not shutil.which("valgrind"):
        raise BenchFailed("missing; as root: apt-get install --no-install-recommends valgrind")


def _print(kind: str) -> None:
    total, functions = _counted(kind)
    has_client = kind == "dpop" or kind in _POSTED or kind in STREAMS
    own = total - _counted(f"{kind}-client" if has_client else "client")[0]
    print(f"{kind}: {own:,} instructions a request")
    if kind == "dpop":
        verification = _counted("verification")[0]
        permitted = _counted("permitted")[0] - _counted("client")[0]
        print(f"one verification {verification:,} + one permitted request {permitted:,}:", end=" ")
        print(f"a request with a proof is {own / (verification + permitted):.3f} of both")
    for name, count in list(functions.items())[:_SHOWN]:
        print(f"{count:10,}  {name}")


def _counted(what: str) -> tuple[int, dict[str, int]]:
    """Instructions of one call, and of each compiled function with all that it calls."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        inside = [sys.executable, "-P", "-m", "bench.instructions", "--inside", what]
        run([*valgrind, *inside])
        report = run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", f"{out}.1"])
    total, functions = 0, dict[str, int]()
    counted = _COUNTED * STREAMS.get(what.removesuffix("-client"), 1)
    for line in report.splitlines():
        found = _ROW.match(line)
        if found is None:
            continue
        count = int(found[1].replace(",", "")) // counted
        if found[2] is None:
            total = count
        else:
            functions.setdefault(found[2].replace("___", "."), count)
    if not total:
        raise BenchFailed(f"callgrind counted nothing: {report[-300:]}")
    return total, functions


async def _drive(what: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        gc.collect()
        gc.disable()  # what a collection takes depends on what this process holds besides, and it falls into some runs
        one = _verification() if what == "verification" else await _request(what, Path(folder))
        for _ in range(_WARM):
            one()
        _control("-i", "on")
        one()
        _control("-z")
        for _ in range(_COUNTED):
            one()
        _control("-d")


async def _request(what: str, folder: Path) -> Callable[[], object]:
    """What is counted: a request, or with `client` only what the client's side of it takes."""
    pki, key = Pki.create(), SigningKey.create("ES256")
    bound_to = pki.other_client if what == "denied" else pki.client
    if what.startswith("dpop"):
        memory = ReplayMemory(b"key", time.monotonic)
        proofs = _WARM + _COUNTED + 2
        world = World(pki, key, folder, bound_to, prover=Prover.create(), proofs=proofs, replay=memory)
    elif what.partition("-")[0] in _POSTED:
        world = EndpointWorld(pki, key, folder, bound_to)
        world.path = _POSTED[what.partition("-")[0]]
    elif what.removesuffix("-client") in STREAMS:
        world = (GrpcWorld if what.startswith("grpc") else Http2World)(pki, key, folder, bound_to)
        world.each = STREAMS[what.removesuffix("-client")]
    else:
        world = World(pki, key, folder, bound_to)
    if what.endswith("client"):  # whose records nobody opens
        await world.start()
        return world.sealed
    await world.begin()
    return world.one


def _verification() -> Callable[[], object]:
    """One ES256 signature of a DPoP proof."""
    prover = Prover.create()
    signed, _, signature = prover.proof("token").rpartition(".")
    arguments = ("ES256", signed.encode(), parse_jwk(prover.jwk).key, base64url(signature))
    assert is_signature(*arguments)
    return partial(is_signature, *arguments)


def _control(*arguments: str) -> None:
    subprocess.run(["callgrind_control", *arguments, str(os.getpid())], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
