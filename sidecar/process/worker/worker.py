"""One serving process from the inside: the data plane, and everything that feeds it. Where concrete classes meet.

Theory of operation: a worker begins with a configuration that is good as a whole. It binds its listeners, serves, takes
new generations, and drains. It answers questions about itself (`readiness`, `metrics`, `state`); who asks them, an HTTP
server of this process or a supervisor, is not its concern.
"""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import sidecar
from sidecar.issuer.issuers import Issuers
from sidecar.issuer.readiness import Readiness
from sidecar.process.endpoints.health import Check
from sidecar.process.host.hardening import resident_bytes
from sidecar.process.host.pulse import Pulse
from sidecar.process.watches.bypass import BypassWatch
from sidecar.process.watches.certificates import samples
from sidecar.process.watches.enforcement import LOOK, EnforcementWatch
from sidecar.process.watches.probes import UpstreamProbe, certificate_checks, issuer_checks
from sidecar.process.worker.assembly import Ports, prepare
from sidecar.proxy.configuration import ListenerSettings
from sidecar.proxy.server import Server
from sidecar.proxy.tls import ServerTls
from sidecar.settings.configuration import Loaded
from sidecar.settings.problem import Problem, SettingsError
from sidecar.telemetry.issuer_telemetry import IssuerTelemetry
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics, Sample, Snapshot
from sidecar.telemetry.observer import Telemetry
from sidecar.telemetry.trace_context import UNTRACED

if TYPE_CHECKING:
    from sidecar.telemetry.tracing import Tracer


class Worker:
    """Serves one configuration after the other."""

    def __init__(self, loaded: Loaded, journal: Journal) -> None:
        """On the event loop. Raises `SettingsError`."""
        self.journal = journal
        self.metrics = Metrics()
        self.telemetry = Telemetry(self.metrics, journal, loaded.service.logging)
        self.issuer_telemetry = IssuerTelemetry(self.metrics, journal)
        self.issuers = Issuers(loaded.issuers, self.issuer_telemetry)
        self.pulse = Pulse(self.metrics)
        self._upstream = UpstreamProbe()
        self.bypass = BypassWatch(lambda: self.assembly.loaded, journal)
        self.enforcement = EnforcementWatch(lambda: self.assembly.loaded.policy, journal)
        self._ports = Ports(self.issuers, self.issuers, os.urandom(32))
        self.assembly = first = prepare(loaded, self._ports)
        """The configuration in force."""
        self._tls = first.tls
        self.tracer = self._tracer(loaded)
        self.server = Server(
            loaded.proxy,
            first.authorizer,
            self.telemetry,
            documents=first.documents,
            resource_metadata=first.metadata_url,
            tls_factory=self._tls_of,
            trace=self.tracer.trace_ids if self.tracer is not None else UNTRACED,
        )
        self.draining = False
        self._started = False
        self._cache_hits = self._cache_misses = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.metrics.sources.extend(
            (self._samples, self.pulse.samples, self.bypass.samples, self.enforcement.samples)
        )

    # --- life

    async def start(self, *, reuse_port: bool = False) -> None:
        """Fetch keys, bind, serve. Raises OSError and `SettingsError`."""
        try:
            await self.issuers.start()
        except ValueError as error:
            place = str(self.assembly.loaded.files[0])
            raise SettingsError([Problem(place, 0, 0, f"issuers: {error}")]) from None
        await self.server.start(reuse_port=reuse_port)
        for danger in self.assembly.loaded.dangers:
            self.journal.warning("dangerous setting", setting=str(danger))
        self._started = True
        self.pulse.every(1.0, self._watch_memory)
        self.enforcement.look()
        self.pulse.every(LOOK, self.enforcement.look)
        for work in (self.pulse.run(), self.bypass.run()):
            self._tasks.append(asyncio.create_task(work))

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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.server.close()
        await self.issuers.close()
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)

    # --- reload

    async def take(self, loaded: Loaded) -> None:
        """Put a configuration into force. Raises `SettingsError` and changes nothing."""
        before = self.assembly
        assembly = await asyncio.to_thread(prepare, loaded, self._ports, before)
        try:
            await self.issuers.reconfigure(loaded.issuers, assembly.generation)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise SettingsError([Problem(str(loaded.files[0]), 0, 0, f"issuers: {error}")]) from None
        self._tls = assembly.tls
        self.server.replace(
            loaded.proxy,
            assembly.authorizer,
            generation=assembly.generation,
            documents=assembly.documents,
            resource_metadata=assembly.metadata_url,
        )
        self.assembly = assembly
        self._cache_hits += before.authorizer.verified.hits
        self._cache_misses += before.authorizer.verified.misses

    def _tls_of(self, settings: ListenerSettings) -> ServerTls:
        """TLS that was made in the thread already."""
        return self._tls[settings.name]

    def _tracer(self, loaded: Loaded) -> "Tracer | None":
        if loaded.service.tracing.endpoint is None:
            return None
        from sidecar.telemetry.tracing import Tracer  # noqa: PLC0415 — an optional extra, and heavy

        tracer = Tracer(loaded.service.tracing, sidecar.__version__)
        self.telemetry.spans = tracer.request
        self.issuer_telemetry.tracer = tracer
        return tracer

    def _watch_memory(self) -> None:
        """Past the watermark new connections are turned away, before the kernel ends them all."""
        limit = self.assembly.loaded.proxy.limits.memory_bytes
        short = bool(limit) and resident_bytes() > limit
        if short != self.server.short_of_memory:
            self.server.short_of_memory = short
            self.telemetry.incident(
                "memory_short" if short else "memory_recovered", f"watermark {limit} bytes"
            )

    # --- questions

    async def readiness(self) -> Sequence[Check]:
        """Everything that must hold before requests should come here."""
        proxy = self.assembly.loaded.proxy
        return [
            Check(
                "serving", ok=self._started and not self.draining, detail="draining" if self.draining else ""
            ),
            *issuer_checks(self._issuer_readiness()),
            *certificate_checks(self.assembly.certificates, time.time()),
            await self._upstream.check(proxy.upstream),
            *self.bypass.checks(),
        ]

    async def startup(self) -> Sequence[Check]:
        """Whether the listeners are open and the keys have been here."""
        return [Check("listening", ok=self._started), *issuer_checks(self._issuer_readiness())]

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
        yield Sample("sidecar_upstream_connections", (), self.server.upstream_connections)
        yield Sample("sidecar_requests_in_progress", (), self.server.exchanges)
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
