"""What the data plane carries and refuses, in figures: bytes streamed, peak memory, delay of events, connections
held, smuggling shapes refused, and how many requests the upstream saw that were not permitted (0).

usage: python -m tests.data_plane_report [--bytes N] [--connections N]

Exits 1 when the upstream saw anything that was not permitted, or a stream did not arrive whole.
"""

import argparse
import asyncio
import resource
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.differential.outcome import first_status
from tests.differential.smuggling import shapes
from tests.real import upstreams
from tests.real.clients import Curl
from tests.real.fronted import both_protocols
from tests.real.streams import GIB, MIB, Transfer, download, measured, upload
from tests.support.http2_frames import OPENING, asked, request
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar
from tests.support.tls_client import client_context, request_bytes


@dataclass(frozen=True, slots=True)
class World:
    """What every measurement needs."""

    folder: Path
    pki: Pki
    key: SigningKey
    token: str

    @classmethod
    def create(cls, folder: Path) -> "World":
        pki, key = Pki.create(), SigningKey.create()
        return cls(folder, pki, key, key.token(pki.client))

    @contextmanager
    def sidecar(self, upstream: str, *, http2: bool = False, **limits: object) -> Iterator[Sidecar]:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        service = {"limits": limits} if limits else {}
        one = Sidecar(folder, self.pki, upstream, keys=[self.key], service=service)
        with both_protocols(one) if http2 else one as running:
            yield running


@dataclass(frozen=True, slots=True)
class Held:
    """Idle TLS connections; sizes in bytes, of the sidecar's resident memory."""

    connections: int
    memory: int
    per_connection: float
    answer: float
    """Median of the seconds one more client waits for an answer while they are held."""


@dataclass(frozen=True, slots=True)
class Smuggling:
    """What became of every shape."""

    shapes: int
    refused: int
    seen: int
    not_permitted: int


def stream_down(world: World, size: int) -> Transfer:
    with ExitStack() as stack:
        nginx = stack.enter_context(upstreams.nginx_upstream(Path(tempfile.mkdtemp(dir=world.folder))))
        sidecar = stack.enter_context(world.sidecar(nginx.url))
        curl = Curl(world.folder, world.pki.server_authority.certificate, world.pki.client)
        return measured(sidecar.process, lambda: download(sidecar, nginx, curl, world.token, size))


def stream_up(world: World, size: int) -> Transfer:
    with ExitStack() as stack:
        node = stack.enter_context(upstreams.node_upstream(Path(tempfile.mkdtemp(dir=world.folder))))
        sidecar = stack.enter_context(world.sidecar(node.url))
        curl = Curl(world.folder, world.pki.server_authority.certificate, world.pki.client)
        return measured(sidecar.process, lambda: upload(sidecar, curl, world.token, size))


def event_delays(world: World, number: int = 200) -> list[float]:
    """Seconds from the sending of each Server-Sent Event to its arrival, in order of size."""
    with ExitStack() as stack:
        node = stack.enter_context(upstreams.node_upstream(Path(tempfile.mkdtemp(dir=world.folder))))
        sidecar = stack.enter_context(world.sidecar(node.url))
        wire = stack.enter_context(sidecar.connect(world.pki.client))
        wire.send(request_bytes("GET", f"/accounts/1?events={number}&every=0.01", token=world.token))
        assert wire.head().status == 200
        delays: list[float] = []
        while len(delays) < number:
            data = wire.read_some()
            now = time.time()
            sent = [float(line[6:]) for line in data.splitlines() if line.startswith(b"data: ")]
            delays += [now - one for one in sent]
        return sorted(delays)


PUBLIC = b"GET /public/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HTTP1, HTTP2 = "http/1.1", "h2"
_FIELDS = request("/public/x", authority="api.example.com")


class Asker:
    """One connection of a client."""

    def __init__(self, streams: Streams, protocol: str) -> None:
        self._reader, self.writer = streams
        self._protocol = protocol
        self._stream = 1

    def _request(self) -> bytes:
        if self._protocol == HTTP1:
            return PUBLIC
        number, self._stream = self._stream, self._stream + 2
        return (OPENING if number == 1 else b"") + asked(_FIELDS, number)

    async def ask(self) -> float:
        """Sends one request; the seconds until its answer."""
        started = time.perf_counter()
        self.writer.write(self._request())
        answer = await self._reader.readuntil(b"seen")
        assert self._protocol == HTTP2 or answer.startswith(b"HTTP/1.1 200")
        return time.perf_counter() - started


async def connected(port: int, context: ssl.SSLContext, gate: asyncio.Semaphore, protocol: str) -> Asker:
    """A connection that has carried one request."""
    async with gate:
        made = Asker(await asyncio.open_connection("127.0.0.1", port, ssl=context), protocol)
        await made.ask()
        return made


async def rested(sidecar: Sidecar) -> int:
    """Resident bytes when they fall no more: an idle connection gives its buffers back after a second or later."""
    await asyncio.sleep(2)
    now, before = sidecar.process.memory().now, 1 << 62
    while now < before - (64 << 10):
        await asyncio.sleep(1)
        before, now = now, sidecar.process.memory().now
    return now


async def held_idle(sidecar: Sidecar, context: ssl.SSLContext, number: int, protocol: str) -> Held:
    before, gate = sidecar.process.memory().now, asyncio.Semaphore(64)
    held = await asyncio.gather(*(connected(sidecar.port, context, gate, protocol) for _ in range(number)))
    now = await rested(sidecar)
    waits = sorted([await held[-1].ask() for _ in range(200)])
    for one in held:
        one.writer.transport.abort()
    await asyncio.sleep(0)
    return Held(number, now, (now - before) / number, waits[100])


def hold(world: World, wanted: int, protocol: str = HTTP1) -> Held:
    """Opens that many TLS connections with a client certificate, each after one request, and leaves them idle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    number = min(wanted, hard - 200)
    context = client_context(world.pki.client, alpn=(protocol,))
    try:
        with (
            Recorder() as recorder,
            world.sidecar(recorder.url, http2=protocol == HTTP2, connections=number + 100) as sidecar,
        ):
            return asyncio.run(held_idle(sidecar, context, number, protocol))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def smuggle(world: World) -> Smuggling:
    """Sends every shape, each on its own connection, and reads until the sidecar ends it."""
    refused = total = 0
    with Recorder() as recorder, world.sidecar(recorder.url) as sidecar:
        for _, data in shapes(world.token):
            total += 1
            refused += first_status(sidecar.connect(world.pki.client), data) >= 400
        seen = len(recorder.seen)
        strangers = [one for one in recorder.seen if one.target != "/accounts/1"]
        return Smuggling(total, refused, seen, len(strangers) + len(recorder.broken))


def print_streams(transfers: Mapping[str, Transfer]) -> None:
    for direction, one in transfers.items():
        rate = one.moved / MIB / one.seconds
        print(
            f"bytes streamed {direction:4}  {one.moved:>14,}  ({rate:.0f} MiB/s, {one.cpu_seconds:.1f} s of CPU)"
        )
        print(f"  peak memory        {one.peak / MIB:>14.1f}  MiB, {one.growth / MIB:.1f} more than before")


def print_held(held: Held, protocol: str) -> None:
    each, wait = held.per_connection / 1024, held.answer * 1000
    print(f"connections held     {held.connections:>14,}  idle, {protocol}, with a client certificate")
    print(f"  memory             {held.memory / MIB:>14.1f}  MiB, {each:.1f} KiB a connection")
    print(f"  an answer takes    {wait:>14.2f}  ms on one of them (median)")


def report(size: int, connections: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        world = World.create(Path(name))
        transfers = {"down": stream_down(world, size), "up": stream_up(world, size)}
        print_streams(transfers)
        delays = event_delays(world)
        median, worst = delays[len(delays) // 2] * 1000, delays[-1] * 1000
        print(
            f"events               {len(delays):>14,}  delayed by {median:.2f} ms (median), {worst:.2f} ms (worst)"
        )
        smuggling = smuggle(world)
        print(f"smuggling shapes     {smuggling.shapes:>14,}  {smuggling.refused} refused")
        print(f"  requests seen      {smuggling.seen:>14,}  by the upstream")
        print(f"  not permitted      {smuggling.not_permitted:>14,}")
        for protocol in (HTTP1, HTTP2):
            print_held(hold(world, connections, protocol), protocol)
    whole = all(one.moved == size for one in transfers.values())
    return 0 if whole and smuggling.not_permitted == 0 else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bytes", type=int, default=GIB, help="bytes to stream each way")
    parser.add_argument("--connections", type=int, default=10_000, help="connections to hold")
    arguments = parser.parse_args()
    return report(arguments.bytes, arguments.connections)


if __name__ == "__main__":
    sys.exit(main())
