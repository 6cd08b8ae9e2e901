"""How many instructions a request costs, and in which functions: callgrind's count, the same whatever else runs.

`python -m bench.instructions [permitted|denied]`, by default both. One request after another through one connection in
this process, TLS and all, without sockets, as in `bench.parts`; what the client's side of the TLS costs is counted
apart and taken off. Instructions are no time, but they do not scatter: what a change brought can be seen on a busy
machine.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.packages import install
from bench.process import BenchFailed, run
from tests.support.measured import RESPONSE, World
from tests.support.mint import SigningKey
from tests.support.pki import Pki

KINDS: Final = ("permitted", "denied")
_WARM, _COUNTED = 100, 400
_SHOWN = 40
_ROW: Final = re.compile(r"\s*([\d,]+) \([\d.]+%\)\s+(?:\S*:CPyDef_(\S+)|PROGRAM TOTALS)")


def main(arguments: list[str]) -> int:
    """Prints a table for each kind; 1 when it cannot be counted."""
    if arguments[:1] == ["--inside"]:
        asyncio.run(_drive(arguments[1]))
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
    client, _ = _counted("client")
    total, functions = _counted(kind)
    print(f"{kind}: {total - client:,} instructions a request")
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
    for line in report.splitlines():
        found = _ROW.match(line)
        if found is None:
            continue
        count = int(found[1].replace(",", "")) // _COUNTED
        if found[2] is None:
            total = count
        else:
            functions.setdefault(found[2].replace("___", "."), count)
    if not total:
        raise BenchFailed(f"callgrind counted nothing: {report[-300:]}")
    return total, functions


async def _drive(what: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pki = Pki.create()
        bound_to = pki.other_client if what == "denied" else pki.client
        world = World(pki, SigningKey.create("ES256"), Path(folder), bound_to)
        await world.start()
        one: Callable[[], object] = world.sealed
        if what != "client":  # whose records nobody opens
            one = world.one
            world.connection.data_received(world.sealed())
            await asyncio.sleep(0.01)
            for upstream in world.upstreams:
                assert upstream.protocol is not None
                upstream.protocol.data_received(RESPONSE)
        for _ in range(_WARM):
            one()
        _control("-i", "on")
        one()
        _control("-z")
        for _ in range(_COUNTED):
            one()
        _control("-d")


def _control(*arguments: str) -> None:
    subprocess.run(["callgrind_control", *arguments, str(os.getpid())], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
