"""`Inspection` of one worker in this process."""

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import sidecar
from sidecar.process.endpoints.admin.decisions import described
from sidecar.process.endpoints.admin.inspection import JsonObject, Refused
from sidecar.process.endpoints.admin.redaction import shown
from sidecar.process.endpoints.health import Check
from sidecar.process.reload.reloader import Reloader
from sidecar.process.worker.worker import Worker
from sidecar.proxy.authorization_server.configuration import AuthorizationServerSettings
from sidecar.proxy.configuration import ListenerSettings, UpstreamSettings
from sidecar.rehearsal.question import BadQuestion, answer
from sidecar.telemetry.configuration import Level
from sidecar.telemetry.metrics import Snapshot

_COUNTERS = {
    "requests": "sidecar_requests_total",
    "handshakes": "sidecar_tls_handshakes_total",
    "incidents": "sidecar_incidents_total",
    "issued": "sidecar_issued_tokens_total",
}
_DURATIONS = {
    "decision": "sidecar_decision_duration_seconds",
    "upstream": "sidecar_upstream_duration_seconds",
}


class LocalInspection:
    """Answers for one worker, and for the reloads of the whole process if it is alone."""

    def __init__(self, worker: Worker, reloader: Reloader | None = None) -> None:
        """Without `reloader`, a supervisor reloads and reports it."""
        self._worker = worker
        self._reloader = reloader
        self._started = time.time()

    def liveness(self) -> Sequence[Check]:
        """Whether the serving event loop still runs."""
        return self._worker.liveness()

    async def readiness(self) -> Sequence[Check]:
        """All checks that must hold before requests should be sent here."""
        own = configuration_checks(self._reloader) if self._reloader is not None else ()
        return [*await self._worker.readiness(), *own]

    async def startup(self) -> Sequence[Check]:
        """The checks that must have held once since the start."""
        return await self._worker.startup()

    async def grpc_health(self, service: str) -> Check | None:
        """The API's health answer for a gRPC service; None if the configuration does not list it."""
        return await self._worker.grpc_health(service)

    async def snapshot(self) -> Snapshot:
        """All figures now."""
        return await self._worker.snapshot()

    async def decisions(self, cursor: str, limit: int) -> JsonObject:
        """Requests that ended after `cursor`."""
        after = int(cursor) if cursor.isdecimal() and len(cursor) < 20 else 0
        found = self._worker.telemetry.live.since(after)
        latest = found[-1][0] if found else after
        entries = described(found[-limit:])
        skipped = latest - after - len(entries) if after and found else 0
        return {"cursor": str(latest), "skipped": skipped, "entries": entries}

    async def state(self) -> JsonObject:
        """What the page shows beside the decisions."""
        worker = self._worker
        checks = await self.readiness()
        proxy = worker.assembly.loaded.proxy
        return {
            "pod": pod_name(),
            "upstream": upstream_name(proxy.upstream),
            "addresses": [listener_name(one) for one in proxy.listeners],
            "version": sidecar.__version__,
            "started": self._started,
            "now": time.time(),
            "workers": [os.getpid()],
            "ready": all(check.ok for check in checks),
            "checks": [asdict(check) for check in checks],
            "log_level": worker.journal.level.value,
            "configuration": reload_state(self._reloader) if self._reloader is not None else {},
            "counts": self._counts(),
            "issuers": self._issuers(),
            "certificates": [asdict(one) for one in worker.assembly.certificates],
            "listeners": [one.name for one in proxy.listeners],
            "authorization_server": server_state(worker.assembly.loaded.authorization_server),
        }

    async def clients(self) -> JsonObject:
        """The figures of each client's requests."""
        adoption = self._worker.telemetry.adoption
        return {"since": adoption.since, "clients": adoption.rows()}

    async def configuration(self) -> JsonObject:
        """The configuration in force, without secrets."""
        loaded = self._worker.assembly.loaded
        return {
            "generation": self._worker.assembly.generation,
            "files": [str(file) for file in loaded.files],
            "proxy": shown(loaded.proxy),
            "service": shown(loaded.service),
            "issuers": shown(loaded.issuers),
            "policy": shown(loaded.policy),
            "authorization_server": server_state(loaded.authorization_server),
        }

    async def explain(self, question: JsonObject) -> JsonObject:
        """Why a request would be permitted or refused. Raises `Refused`."""
        assembly = self._worker.assembly
        try:
            clients = assembly.endpoints.clients if assembly.endpoints is not None else None
            return await answer(question, assembly.authorizer, assembly.loaded, time.time(), clients)
        except BadQuestion as error:
            raise Refused(str(error)) from None

    async def log_level(self, level: Level | None = None) -> Level:
        """The level in force, after setting it if one is given."""
        journal = self._worker.journal
        if level is not None and level is not journal.level:
            journal.warning("log level changed", was=journal.level.value, now=level.value)
            journal.level = level
        return journal.level

    async def reload(self) -> None:
        """Reload the configuration from disk soon."""
        if self._worker.draining or self._reloader is None:
            raise Refused("the process is draining")
        self._reloader.request("admin")

    def _counts(self) -> dict[str, Any]:
        metrics = self._worker.metrics
        return {
            **{
                name: [[*labels, count] for labels, count in metrics.counter(family).items()]
                for name, family in _COUNTERS.items()
            },
            "durations": [
                [name, bound, count]
                for name, family in _DURATIONS.items()
                for bound, count in metrics.histogram(family).buckets()
            ],
            "connections": self._worker.server.connections,
            "upstream_connections": self._worker.server.upstream_connections,
            "in_progress": self._worker.server.exchanges,
            "lines_dropped": self._worker.journal.sink.dropped,
        }

    def _issuers(self) -> list[dict[str, Any]]:
        errors = self._worker.issuer_telemetry.last_error
        states = {state.issuer: state for state in self._worker.issuers.readiness().states}
        return [
            {
                "issuer": one.issuer,
                "keys": states[one.issuer].usable if one.issuer in states else 0,
                "age": states[one.issuer].age if one.issuer in states else None,
                "ready": states[one.issuer].is_ready if one.issuer in states else True,
                "skipped": dict(states[one.issuer].skipped) if one.issuer in states else {},
                "source": type(one.keys).__name__ if one.keys is not None else "introspection",
                "last_error": errors.get(one.issuer),
            }
            for one in self._worker.assembly.loaded.issuers.issuers
        ]


def pod_name() -> str:
    """The name of this Pod: `POD_NAME`, otherwise the host's name, which in a Pod is the Pod's."""
    return os.environ.get("POD_NAME") or socket.gethostname()


def listener_name(listener: ListenerSettings) -> str:
    """A listener's address, after its name if the name is different."""
    address = listener.path or authority(listener.host, listener.port)
    return address if listener.name == address else f"{listener.name} {address}"


def upstream_name(upstream: UpstreamSettings) -> str:
    """The upstream's URL."""
    if upstream.scheme == "unix":
        return f"unix:{upstream.path}"
    return f"{upstream.scheme}://{authority(upstream.host, upstream.port)}"


def authority(host: str, port: int) -> str:
    """Host and port as in a URL (RFC 3986 §3.2): an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def configuration_checks(reloader: Reloader) -> Iterator[Check]:
    """A warning while the configuration on disk is refused. It shows no problem, as everyone may request health."""
    last = reloader.last
    if last.result == "failure":
        many = f"{len(last.problems)} problem" + ("" if len(last.problems) == 1 else "s")
        kept = f"generation {reloader.generation} stays in force"
        yield Check(
            "configuration", ok=True, detail=f"what is on disk was refused ({many} in the log); {kept}"
        )


def reload_state(reloader: Reloader) -> dict[str, Any]:
    """The configuration in force, and the result of the last attempt to change it."""
    policy = reloader.loaded.policy
    return {
        "generation": reloader.generation,
        "rules": len(policy.rules),
        "report_only_until": policy.report_only.until if policy.report_only is not None else None,
        "dangers": [str(danger) for danger in reloader.loaded.dangers],
        **asdict(reloader.last),
    }


def server_state(settings: AuthorizationServerSettings | None) -> JsonObject | None:
    """What the page shows of an authorization server; its clients are many, and counted."""
    if settings is None:
        return None
    return {
        "issuer": settings.issuer,
        "endpoints": {one.kind.value: one.public for one in settings.endpoints},
        "hand_over": shown(settings.hand_over),
        "audit_binding": settings.audit_binding.value,
        "report_only_until": settings.report_only_until,
        "clients": dict(Counter(one.method.value for one in settings.clients)),
    }
