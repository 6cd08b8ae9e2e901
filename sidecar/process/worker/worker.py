"""One serving process from the inside: the data plane with everything that it needs. The composition root.

Theory of operation: a worker begins with a configuration that is good as a whole. It binds its listeners, serves, takes
new generations, and drains. It answers questions about itself (`readiness`, `metrics`, `state`); who asks them, an HTTP
server of this process or a supervisor, is not its concern.
"""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sidecar
from sidecar.decision.replay import ReplayGuard, ReplayMemory
from sidecar.issuer.issuers import Issuers, PreparedIssuers
from sidecar.issuer.readiness import Readiness
from sidecar.process.endpoints.health import Check, begun_again, heartbeat
from sidecar.process.host.hardening import resident_bytes
from sidecar.process.host.loop import available_processors
from sidecar.process.host.memory import MemoryReturn, cgroup_bytes, watermark
from sidecar.process.host.pulse import Pulse
from sidecar.process.host.standing import StandingTasks
from sidecar.process.replay.guards import Guards
from sidecar.process.watches.bypass import BypassWatch
from sidecar.process.watches.certificates import samples
from sidecar.process.watches.enforcement import LOOK, EnforcementWatch
from sidecar.process.watches.grpc_health import GrpcHealth
from sidecar.process.watches.probes import UpstreamProbe, certificate_checks, issuer_checks
from sidecar.process.worker.assembly import Assembly, Ports, prepare
from sidecar.process.worker.served_endpoints import EndpointPorts
from sidecar.proxy.configuration import ListenerSettings
from sidecar.proxy.server import Server
from sidecar.proxy.vouching.hop_tls import ListenerTls
from sidecar.settings.configuration import Loaded
from sidecar.settings.problem import Problem, SettingsError
from sidecar.telemetry.client_keys_telemetry import ClientKeysTelemetry
from sidecar.telemetry.issuer_telemetry import IssuerTelemetry
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics, Sample, Snapshot
from sidecar.telemetry.observer import Telemetry
from sidecar.telemetry.proofs import proof_samples
from sidecar.telemetry.trace_context import UNTRACED

if TYPE_CHECKING:
    from sidecar.telemetry.tracing import Tracer


@dataclass(frozen=True, slots=True)
class _Next:
    """A prepared configuration, until it is adopted."""

    assembly: Assembly
    issuers: PreparedIssuers


class Worker:
    """Serves one configuration after the other."""

    def __init__(self, loaded: Loaded, journal: Journal, memory: ReplayGuard | None = None) -> None:
        """On the event loop. `memory`: of used proofs, when it is not this process's own. Raises `SettingsError`."""
        self.journal = journal
        self.metrics = Metrics()
        self.telemetry = Telemetry(self.metrics, journal, loaded.service.logging)
        self.issuer_telemetry = IssuerTelemetry(self.metrics, journal)
        self._client_keys_telemetry = ClientKeysTelemetry(self.metrics, journal)
        generation = loaded.policy.generation
        self.issuers = Issuers(loaded.issuers, self.issuer_telemetry, generation=generation)
        self.pulse = Pulse(self.metrics)
        self._upstream, self._grpc = UpstreamProbe(), GrpcHealth()
        self.bypass = BypassWatch(lambda: self.assembly.loaded, journal)
        self.enforcement = EnforcementWatch(lambda: self.assembly.loaded.policy, journal)
        memory = ReplayMemory(os.urandom(32), time.monotonic) if memory is None else memory
        self._ports = self._make_ports(memory)
        self.assembly = first = prepare(loaded, self._ports)
        """The configuration in force."""
        self._tls = first.tls
        self.tracer = self._tracer(loaded)
        self.server = Server(
            loaded.proxy,
            first.authorizer,
            self.telemetry,
            generation=generation,
            documents=first.documents,
            resource_metadata=first.metadata_url,
            endpoints=first.server_endpoints,
            tls_factory=self._tls_of,
            trace=self.tracer.trace_ids if self.tracer is not None else UNTRACED,
        )
        self.draining = False
        self._container_bytes = cgroup_bytes()
        self._memory = MemoryReturn(lambda: self.server.connections, self.server.peak)
        self._started = False
        self._cache_hits = self._cache_misses = self._proofs_accepted = 0
        self._next: _Next | None = None
        self._preparing = asyncio.Lock()
        self.tasks = StandingTasks(journal, self.metrics)
        self._tell_generation()
        self.metrics.sources.extend(
            (self._samples, self.pulse.samples, self.bypass.samples, self.enforcement.samples)
        )

    def _make_ports(self, memory: ReplayGuard) -> Ports:
        key, incident = os.urandom(32), self.telemetry.incident
        endpoints = EndpointPorts(self.issuers, key, incident, self._client_keys_telemetry)
        return Ports(
            self.issuers, self.issuers.in_force, self.issuers, key, Guards(memory, incident), endpoints
        )

    # --- life

    async def start(self) -> None:
        """Fetch keys, bind, serve. Raises OSError and `SettingsError`."""
        await self.begin()
        await self.serve()

    async def begin(self) -> None:
        """All work that takes time before the first request. Raises OSError and `SettingsError`."""
        try:
            await self.issuers.start()
        except ValueError as error:
            place = str(self.assembly.loaded.files[0])
            raise SettingsError([Problem(place, 0, 0, f"issuers: {error}")]) from None
        if self.assembly.endpoints is not None:
            await self.assembly.endpoints.start()

    async def serve(self, *, reuse_port: bool = False) -> None:
        """Bind and serve. Raises OSError."""
        await self.server.start(reuse_port=reuse_port)
        for danger in self.assembly.loaded.dangers:
            self.journal.warning("dangerous setting", setting=str(danger))
        self._started = True
        self.pulse.every(1.0, self._watch_memory)
        self.enforcement.look()
        self.pulse.every(LOOK, self.enforcement.look)
        self.tasks.begin("pulse", self.pulse.run)
        self.tasks.begin("bypass check", self.bypass.run)

    async def drain(self) -> None:
        """Let the requests under way finish, then close."""
        self.draining = True
        within = self.assembly.loaded.proxy.timeouts.drain
        self.journal.info("draining", connections=self.server.connections, within=within)
        self.server.begin_drain()
        if not await self.server.drained(within):
            self.journal.warning("drain ended with requests under way", exchanges=self.server.exchanges)

    async def close(self) -> None:
        """Close everything at once."""
        await self.tasks.close()
        self.server.close()
        await self.abandon()
        await self.issuers.close()
        await _close(self.assembly)
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)

    # --- reload

    async def take(self, loaded: Loaded) -> None:
        """Put a configuration into force. Raises `SettingsError` and changes nothing."""
        await self.prepare(loaded)
        self.adopt(loaded.policy.generation)

    async def prepare(self, loaded: Loaded) -> None:
        """All work for a configuration that takes time or can fail. Raises `SettingsError`; changes nothing."""
        async with self._preparing:
            await self.abandon()
            assembly = await asyncio.to_thread(prepare, loaded, self._ports, self.assembly)
            try:
                issuers = await self.issuers.prepared(loaded.issuers, assembly.generation)
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                raise SettingsError([Problem(str(loaded.files[0]), 0, 0, f"issuers: {error}")]) from None
            if assembly.endpoints is not None:
                await assembly.endpoints.start(self.assembly.endpoints)
            self._next = _Next(assembly, issuers)

    async def abandon(self) -> None:
        """Discard the prepared configuration."""
        given_up, self._next = self._next, None
        if given_up is not None:
            await given_up.issuers.close()
            await _close(given_up.assembly)

    def adopt(self, generation: int) -> None:
        """Serve under the prepared configuration, from this turn of the event loop on.

        Raises ValueError when the configuration of this generation is not the one that was prepared last.
        """
        if self._next is None or self._next.assembly.generation != generation:
            raise ValueError(f"generation {generation} was not prepared")
        before, assembly = self.assembly, self._next.assembly
        self.issuers.adopt(self._next.issuers)
        self._next = None
        self._tls = assembly.tls
        self.server.replace(
            assembly.loaded.proxy,
            assembly.authorizer,
            generation=assembly.generation,
            documents=assembly.documents,
            resource_metadata=assembly.metadata_url,
            endpoints=assembly.server_endpoints,
        )
        self.assembly = assembly
        self.server.spawn(_close(before))
        self._cache_hits += before.authorizer.verified.hits
        self._cache_misses += before.authorizer.verified.misses
        self._proofs_accepted += before.authorizer.proofs_accepted
        self._tell_generation()

    def _tell_generation(self) -> None:
        """Each worker reports its own generation. The smallest is shown, so that a late worker is visible."""
        self.metrics.set("sidecar_configuration_generation", value=self.assembly.generation)

    def _tls_of(self, settings: ListenerSettings) -> ListenerTls:
        """The TLS contexts that the thread has made already."""
        return self._tls[settings.name]

    def _tracer(self, loaded: Loaded) -> "Tracer | None":
        if loaded.service.tracing.endpoint is None:
            return None
        from sidecar.telemetry.tracing import Tracer  # noqa: PLC0415 — an optional extra, and heavy

        tracer = Tracer(loaded.service.tracing, sidecar.__version__)
        self.telemetry.spans = tracer.request
        self.issuer_telemetry.tracer = self._client_keys_telemetry.tracer = tracer
        return tracer

    def _watch_memory(self) -> None:
        """Above the watermark new connections are refused, before the kernel kills the process."""
        loaded = self.assembly.loaded
        workers = loaded.service.workers or available_processors()
        limit = watermark(loaded.proxy.limits.memory_bytes, workers, self._container_bytes)
        short = bool(limit) and resident_bytes() > limit
        if self._memory.look(is_short=short):
            # Memory that can be given back is no reason to turn clients away.
            short = bool(limit) and resident_bytes() > limit
        if short:
            self.server.relieve()
        if short != self.server.short_of_memory:
            self.server.short_of_memory = short
            self.telemetry.incident(
                "memory_short" if short else "memory_recovered", f"watermark {limit} bytes"
            )

    # --- questions

    async def readiness(self) -> Sequence[Check]:
        """All checks that must hold before requests should be sent here."""
        proxy = self.assembly.loaded.proxy
        return [
            Check(
                "serving", ok=self._started and not self.draining, detail="draining" if self.draining else ""
            ),
            *issuer_checks(self._issuer_readiness()),
            *certificate_checks(self.assembly.certificates, time.time()),
            await self._upstream.check(proxy.upstream),
            *self.bypass.checks(),
            *begun_again(self.tasks.failed()),
        ]

    def liveness(self) -> Sequence[Check]:
        """Whether the serving event loop still runs; asks nobody and waits for nothing."""
        return [heartbeat(self.pulse.age, "event_loop", "the event loop has not turned")]

    async def startup(self) -> Sequence[Check]:
        """Whether the listeners are open and the keys have been here."""
        return [Check("listening", ok=self._started), *issuer_checks(self._issuer_readiness())]

    async def grpc_health(self, service: str) -> Check | None:
        """The API's health answer for a gRPC service; None if the configuration does not list it."""
        loaded = self.assembly.loaded
        if service not in loaded.service.grpc_services:
            return None
        return await self._grpc.check(service, loaded.proxy.upstream)

    def _issuer_readiness(self) -> Readiness:
        return self.issuers.readiness(self.assembly.loaded.policy.needed_issuers())

    async def snapshot(self) -> Snapshot:
        """All figures now."""
        return self.metrics.snapshot()

    def _samples(self) -> Iterator[Sample]:
        assembly = self.assembly
        yield from samples(assembly.certificates)
        verified = assembly.authorizer.verified
        yield Sample("sidecar_token_cache_entries", (), len(verified))
        yield Sample("sidecar_token_cache_total", ("hit",), self._cache_hits + verified.hits)
        yield Sample("sidecar_token_cache_total", ("miss",), self._cache_misses + verified.misses)
        if "dpop" in assembly.loaded.policy.schemes or self._proofs_accepted:
            yield from proof_samples(
                self.metrics, self._proofs_accepted + assembly.authorizer.proofs_accepted
            )
        yield Sample("sidecar_dpop_used_proofs", (), self._ports.guards.remembered)
        yield Sample("sidecar_upstream_connections", (), self.server.upstream_connections)
        yield Sample("sidecar_requests_in_progress", (), self.server.exchanges)
        yield Sample("sidecar_http2_streams", (), self.server.streams)
        taken = self.server.occupancy.taken()
        for rule in assembly.loaded.policy.rules:
            if rule.limits is not None and rule.limits.concurrent_requests:
                yield Sample("sidecar_rule_requests_in_progress", (rule.name,), taken.get(rule.name, 0))
        for issuer, count in self.issuers.remembered():
            yield Sample("sidecar_introspection_cache_entries", (issuer,), count)
        for state in self._issuer_readiness().states:
            yield Sample("sidecar_jwks_keys", (state.issuer,), state.usable)
            yield Sample("sidecar_jwks_staleness_budget_seconds", (state.issuer,), state.staleness_budget)
            for reason, count in state.skipped.items():
                yield Sample("sidecar_jwks_keys_skipped", (state.issuer, reason), count)
            if state.age is not None:
                yield Sample("sidecar_jwks_age_seconds", (state.issuer,), state.age)
        yield Sample("sidecar_log_lines_dropped_total", (), self.journal.sink.dropped)
        yield Sample("sidecar_log_buffered_bytes", (), self.journal.sink.held)


async def _close(assembly: Assembly) -> None:
    """Ends the background work of a configuration."""
    if assembly.endpoints is not None:
        await assembly.endpoints.close()
