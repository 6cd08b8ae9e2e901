"""The world of one run: the API, the peers that are up, and the client that drives them.

Theory of operation. The proxy under test has a core of its own; client, API and issuer share the other.
Peers of one load are started together and stay up through all rounds, idle while another is driven, so
that rounds interleave. `World` is a context manager: leaving it stops whatever it started, by pid.
"""

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.h2load import PROGRAM, Said, Streams, read
from bench.material import Material, compile_client, make_material
from bench.peers import Peer, grpc_api, introspection, sink, upstream
from bench.peers.site import Site
from bench.process import BenchFailed, Process, start, wait_until
from bench.proofs import make_pool
from bench.sample import Sample
from bench.witness import wrk_sample

_WARM_UP = "--requests=5000"
"""An option of h2load."""


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that is up and listens on `site.port`."""

    peer: Peer
    process: Process
    site: Site
    ready_seconds: float


@dataclass(frozen=True, slots=True)
class Drive:
    """What the load client is to do, in its own option names (bench/client/options.h)."""

    tokens: Path
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    other_certificate: bool = False
    streams: Streams | None = None
    """By h2load, which of the options takes only `seconds`."""

    def having(self, **options: str | float) -> "Drive":
        return replace(self, options={**self.options, **options})


class World:
    """Owns build/bench: material, logs, the API and every process of the run."""

    def __init__(self, build: Path) -> None:
        self.proxy_core, self.client_core = _two_cores()
        self.build = build
        self.files = build / "files"
        self.material: Material = make_material(build / "material")
        self.load, self.shim = compile_client(Path(__file__).parent / "client", build / "client")
        self.api_port = free_port()
        self.issuer_port = free_port()
        self.grpc_port = free_port()
        self._started: list[Process] = []

    def __enter__(self) -> Self:
        try:
            self._start_api()
        except BaseException:
            self._stop_all()
            raise
        return self

    def _start_api(self) -> None:
        _make_files(self.files)
        site = self._site("api", replace_port=self.api_port)
        uploads = self._site("api-sink")
        self._up("api-sink", sink(uploads), self.client_core, uploads.port)
        self._up("api", upstream(site, uploads.port), self.client_core, self.api_port)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_all()

    def _stop_all(self) -> None:
        for process in reversed(self._started):
            process.stop()

    def start_issuer(self) -> None:
        """The introspection endpoint, on the client's core; once."""
        if all(process.name != "issuer" for process in self._started):
            site = self._site("issuer", replace_port=self.issuer_port)
            self._up("issuer", introspection(site), self.client_core, self.issuer_port)

    def start_grpc_api(self) -> None:
        """The API that speaks HTTP/2, on the client's core; once."""
        if all(process.name != "grpc-api" for process in self._started):
            site = self._site("grpc-api", replace_port=self.grpc_port)
            self._up("grpc-api", grpc_api(site), self.client_core, self.grpc_port)

    def start(
        self,
        peer: Peer,
        *,
        opaque: bool = False,
        dpop: bool = False,
        http2: bool = False,
        grpc: bool = False,
        rules: int = 20,
        workers: int = 1,
        cached_tokens: int = 0,
    ) -> Running:
        """Starts a peer; `ready_seconds` is from exec to the first TCP connection it accepts."""
        used = {process.name for process in self._started}
        names = (peer.name, *(f"{peer.name}-{n}" for n in range(2, 10)))
        name = next(name for name in names if name not in used)
        site = replace(self._site(name), rules=rules, workers=workers, cached_tokens=cached_tokens)
        site = replace(site, dpop=dpop)
        site = replace(site, http2=http2, grpc=grpc, upstream=self.grpc_port if grpc else self.api_port)
        if opaque:
            site = replace(site, introspection=self.issuer_port)
        cores = self.proxy_core if workers == 1 else f"{self.proxy_core},{self.client_core}"
        command = peer.command(site)
        process, seconds = self._up(name, command, cores, site.port, peer.environment)
        return Running(peer, process, site, seconds)

    def stop(self, running: Running) -> None:
        """Stops one peer before the end of the run."""
        running.process.stop()
        self._started.remove(running.process)

    def check(self, running: Running, token: Path, path: str = "/accounts/1") -> None:
        """Shows that the peer does the job. Raises `BenchFailed` when it does not."""
        once = Drive(token, {"connections": 1, "requests": 1, "path": path})
        self.drive(running, once)
        if running.peer.checks:
            self.drive(running, replace(once, other_certificate=True).having(expect=401))

    def check_proofs(self, running: Running) -> None:
        """Shows that the peer verifies proofs: a good one 200; again, or by a key the token is not bound to, 401."""
        good = make_pool(self.material, "check", 1)
        other = make_pool(self.material, "check-other", 1, bound=False)
        for pool, expect in ((good, 200), (good, 401), (other, 401)):
            once = Drive(pool.tokens, {"connections": 1, "requests": 1, "proofs": str(pool.proofs)})
            self.drive(running, once.having(expect=expect))

    def drive(self, running: Running, what: Drive) -> Sample:
        """One measured window against one peer."""
        if what.streams is not None:
            return self._drive_streams(running, what, what.streams)
        certificate = self.material.other if what.other_certificate else self.material.client
        options = {"port": running.site.port, "certificate": str(certificate), **what.options}
        sample = self._measure(running.process, options, what.tokens)
        running.process.forget_output()
        return sample

    def prime(self, running: Running, tokens: Path) -> None:
        """Shows a peer every token once, however long that takes: what it remembers, it has seen."""
        self.drive(running, Drive(tokens, {"connections": 32, "seconds": 300, "once": 1}))

    def drive_api(self, what: Drive) -> Sample:
        """The same window against the API itself, without TLS: the baseline of added latency."""
        api = next(process for process in self._started if process.name == "api")
        return self._measure(api, {"port": self.api_port, "plain": 1, **what.options}, what.tokens)

    def check_streams(self, running: Running, token: Path, streams: Streams) -> None:
        """Shows that the peer does the job over HTTP/2. A gRPC call that is refused has no content (and status 200)."""
        permitted = self._h2load(running, token, streams, self.material.client, ["--requests=1"], one=True)
        refused = self._h2load(running, token, streams, self.material.other, ["--requests=1"], one=True)
        is_refused = refused.content == 0 if streams.message is not None else refused.refused == 1
        if not permitted.permitted or not permitted.content or not is_refused:
            raise running.process.failure(f"does not do the job over HTTP/2: {permitted}, then {refused}")

    def _drive_streams(self, running: Running, what: Drive, streams: Streams) -> Sample:
        """By h2load, once to warm up. The handshakes are in the figure: 32, of some 100,000 requests."""
        length = [f"--duration={round(float(what.options['seconds']) * 1000)}ms"]
        self._h2load(running, what.tokens, streams, self.material.client, [_WARM_UP])
        before = running.process.cpu_seconds()
        said = self._h2load(running, what.tokens, streams, self.material.client, length)
        cpu = running.process.cpu_seconds() - before
        if said.permitted < said.done:
            raise running.process.failure(f"refused what it must permit: {said}")
        running.process.forget_output()
        return said.sample(cpu, running.process.rss_kb())

    def _h2load(
        self,
        running: Running,
        tokens: Path,
        streams: Streams,
        certificate: Path,
        length: list[str],
        *,
        one: bool = False,
    ) -> Said:
        token, is_http1 = tokens.read_text().split()[0], running.peer.over_http1
        streams = replace(streams, connections=1, each=1) if one else streams
        url = f"https://127.0.0.1:{running.site.port}{streams.path}"
        words = ["taskset", "-c", self.client_core, PROGRAM, *streams.arguments(token, http1=is_http1)]
        words += ["--clients=1"] if one else []
        done = subprocess.run(
            [*words, *length, url],
            env={**os.environ, "CLIENT_PEM": str(certificate), "LD_PRELOAD": str(self.shim)},
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            return read(done.stdout)
        except ValueError as why:
            raise running.process.failure(f"did not please h2load: {why} {done.stderr}") from None

    def drive_with_wrk(self, running: Running, token: Path, seconds: float) -> Sample:
        """The cached load by wrk, whose figures include its own 32 handshakes: a witness for our client."""
        url = f"https://127.0.0.1:{running.site.port}/accounts/1"
        bearer = f"Authorization: Bearer {token.read_text().split()[0]}"
        timing = ["-t1", "-c32", f"-d{max(1, round(seconds))}s", "--latency"]
        lent = {"CLIENT_PEM": str(self.material.client), "LD_PRELOAD": str(self.shim)}
        before, begun = running.process.cpu_seconds(), time.monotonic()
        done = subprocess.run(
            ["taskset", "-c", self.client_core, "wrk", *timing, "-H", bearer, url],
            env={**os.environ, **lent},
            capture_output=True,
            text=True,
            check=False,
        )
        cpu, passed = running.process.cpu_seconds() - before, time.monotonic() - begun
        if done.returncode or "Non-2xx" in done.stdout:
            raise running.process.failure(f"did not please wrk: {done.stdout}{done.stderr}")
        running.process.forget_output()
        return wrk_sample(done.stdout, passed, cpu, running.process.rss_kb())

    def hold(self, running: Running, what: Drive) -> tuple[int, int]:
        """Resident kB of a peer before, and while the connections of `what` are open and idle."""
        before = running.process.rss_kb()
        options = {
            "port": running.site.port,
            "certificate": str(self.material.client),
            "seconds": 0,
            **what.options,
        }
        with self._client(options, what.tokens) as client:
            _wait_ready(client, running.process)
            time.sleep(1)
            during = running.process.rss_kb()
            _go(client, running.process)
        return before, during

    def hold_with(self, running: Running, token: Path, protocol: str, connections: int) -> tuple[int, int]:
        """As `hold`, by a client that speaks this protocol: one request on each connection, then nothing."""
        before = running.process.rss_kb()
        words = [str(running.site.port), str(self.material.client), str(token), protocol, str(connections)]
        command = ["taskset", "-c", self.client_core, sys.executable, "-m", "bench.idle_client", *words]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as client:
            _wait_ready(client, running.process)
            time.sleep(1)
            during = running.process.rss_kb()
            client.communicate("\n")
        return before, during

    def _measure(self, process: Process, options: Mapping[str, str | float], tokens: Path) -> Sample:
        with self._client(options, tokens) as client:
            _wait_ready(client, process)
            before = process.cpu_seconds()
            answer = _go(client, process)
            cpu = process.cpu_seconds() - before
        process.require_alive()
        if not answer["requests"]:
            raise process.failure("answered no request")
        return Sample(
            requests=int(answer["requests"]),
            seconds=answer["seconds"],
            cpu_seconds=cpu,
            p50_ms=answer["p50_ms"],
            p99_ms=answer["p99_ms"],
            p999_ms=answer["p999_ms"],
            rss_kb=process.rss_kb(),
            connects=int(answer["connects"]),
            resumed=int(answer["resumed"]),
        )

    def _client(self, options: Mapping[str, str | float], tokens: Path) -> subprocess.Popen[str]:
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = ["taskset", "-c", self.client_core, str(self.load), "--tokens", str(tokens), *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def _site(self, name: str, replace_port: int | None = None) -> Site:
        run = self.build / "run" / name
        run.mkdir(parents=True, exist_ok=True)
        return Site(run, self.files, self.material, replace_port or free_port(), free_port(), self.api_port)

    def _up(
        self,
        name: str,
        command: list[str],
        cores: str,
        port: int,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[Process, float]:
        process = start(name, command, cores, self.build / "logs", environment)
        self._started.append(process)
        return process, wait_until(process, lambda: _accepts(port))


def _wait_ready(client: subprocess.Popen[str], process: Process) -> None:
    assert client.stdout is not None
    if client.stdout.readline() != "ready\n":
        raise _client_failure(client, process)


def _go(client: subprocess.Popen[str], process: Process) -> dict[str, float]:
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write("\n")
    client.stdin.flush()
    line = client.stdout.readline()
    if not line:
        raise _client_failure(client, process)
    answer: dict[str, float] = json.loads(line)
    return answer


def _client_failure(client: subprocess.Popen[str], process: Process) -> BenchFailed:
    assert client.stderr is not None
    why = client.stderr.read().strip()
    client.wait(5)
    return process.failure(f"did not answer as it must: {why}")


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port of the loopback interface that nobody uses, below those the kernel gives to clients.

    Thousands of connections come and go in a run: a port of theirs would be taken when a peer wants it.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(lowest - 12_000, lowest)
        if _can_bind(port):
            return port


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _make_files(directory: Path) -> None:
    """Bodies to download (sparse: their bytes are zero) ."""
    (directory / "files").mkdir(parents=True, exist_ok=True)
    for name, size in (("1MiB", 1 << 20), ("1GiB", 1 << 30)):
        path = directory / "files" / name
        path.touch()
        os.truncate(path, size)


def _two_cores() -> tuple[str, str]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchFailed("two cores are needed: one for the proxy, one for client and API")
    return str(cores[0]), str(cores[1])
