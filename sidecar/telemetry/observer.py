"""The data plane's observer: counts each request, writes its line, and passes it to the admin page.

Theory of operation. `observe` runs once per request on the event loop, so it does only what depends on that request:
a few dict look-ups, three histogram buckets, one line. Everything else (text, sums over workers, explanations) is
computed on demand.
"""

import time
from collections.abc import Callable, Iterator

from sidecar.decision.confirmation import KEY
from sidecar.decision.key_exchange import NONE, group_label
from sidecar.telemetry.access import AccessLine, bounded, incomplete, readable
from sidecar.telemetry.adoption import Adoption
from sidecar.telemetry.allowance import Allowances
from sidecar.telemetry.configuration import Access, Audit, Format, LoggingSettings
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.live import LiveDecisions
from sidecar.telemetry.metrics import Metrics, Sample
from sidecar.telemetry.outcome import PERMIT, REPORT, Labels, outcome_of
from sidecar.telemetry.record import AuditRecord

_MOST_STRIPPED = 64
"""Maximum number of stripped headers that the log names: clients choose the names."""
_WARNED = frozenset(
    {
        "upstream_down",
        "internal_error",
        "memory_short",
        "replay_unknown",
        "replay_unknown_accepted",
        "server_credentials_refused",
        "token_not_revoked",
        "metadata_left_alone",
    }
)
"""Incidents that an operator should look at."""
Clock = Callable[[], float]


class Telemetry:
    """Implements `Observer`."""

    def __init__(
        self,
        metrics: Metrics,
        journal: Journal,
        logging: LoggingSettings,
        *,
        clock: Clock = time.time,
        monotonic: Clock = time.monotonic,
    ) -> None:
        self.metrics = metrics
        self.journal = journal
        self._sink = journal.sink
        self.live = LiveDecisions()
        self.adoption = Adoption(clock())
        self._clients = self.adoption.clients
        self.spans: Callable[[AuditRecord, Labels], None] | None = None
        """Called for each request if tracing is on."""
        self._monotonic = monotonic
        """Clock of the allowances: monotonic, so that setting the wall clock does not suppress events."""
        self.places = journal.sink if logging.audit is Audit.REQUIRED else None
        self._line = AccessLine()
        self._logs_all = logging.access is Access.ALL
        self._sample = 0 if logging.access is Access.DENIED else max(1, logging.sample)
        """One in this many permitted requests is logged; 0: none."""
        self._permitted = 0
        self._readable = journal.format is Format.TEXT
        self._requests = metrics.counter("sidecar_requests_total")
        self._duration = metrics.histogram("sidecar_request_duration_seconds")
        self._decision = metrics.histogram("sidecar_decision_duration_seconds")
        self._upstream = metrics.histogram("sidecar_upstream_duration_seconds")
        self._bytes_in = self._bytes_out = 0
        metrics.sources.append(self._bytes)
        self._open = metrics.counter("sidecar_connections")
        self._accepted = metrics.counter("sidecar_connections_accepted_total")
        self._open[()] = self._accepted[()] = 0
        self._handshakes = metrics.counter("sidecar_tls_handshakes_total")
        self._negotiated = metrics.counter("sidecar_tls_handshakes_negotiated_total")
        self._allowances = Allowances(self._tell_sum)
        self._stripped: set[str] = set()
        """Headers that the log has named already."""

    def observe(self, record: AuditRecord) -> None:
        """A request is over."""
        labels = outcome_of(record)
        requests = self._requests
        requests[labels] = requests.get(labels, 0) + 1
        # The line comes first, so that it is written even if a later step fails.
        if self._logs_all or labels[1] != PERMIT or self._is_sampled():
            try:
                line = readable(record, labels) if self._readable else self._line.render(record, labels)
            except Exception as error:  # noqa: BLE001 — an internal error, and still a record
                line = incomplete(record, labels)
                self.incident("internal_error", f"{type(error).__name__} in an audit line")
            self._sink.write(line, record.has_place)
        self._duration.observe(record.duration)
        decision = record.decision
        if decision is not None:
            self._decision.observe(record.decision_seconds)
        if record.upstream_seconds:
            self._upstream.observe(record.upstream_seconds)
        self._bytes_in += record.bytes_in
        self._bytes_out += record.bytes_out
        self.live.append(record, labels)
        token = decision.token if decision is not None else None
        name = (token.client_id or token.subject) if token is not None else None
        if token is not None and name and labels[1] == PERMIT:
            # The effect of `Client.count` for nearly every request. Permitted: the binding of the token is confirmed.
            client = self._clients[name]
            members = token.confirmation.members
            if members:
                client.bound += 1
                client.by_key += 1 if KEY in members else 0
            else:
                client.unbound += 1
            if record.started > client.last_seen:  # noqa: PLR1730 — no call on the way of every request
                client.last_seen = record.started
        else:
            self.adoption.count(record, labels)
        if labels[1] == REPORT or record.ended_by or record.client is not None:
            self._observe_rare(record, labels)
        if self.spans is not None:
            self.spans(record, labels)

    def _bytes(self) -> Iterator[Sample]:
        yield Sample("sidecar_request_body_bytes_total", (), self._bytes_in)
        yield Sample("sidecar_response_body_bytes_total", (), self._bytes_out)

    def _is_sampled(self) -> bool:
        if self._sample == 0:
            return False
        self._permitted += 1
        return self._permitted % self._sample == 1 or self._sample == 1

    def _observe_rare(self, record: AuditRecord, labels: Labels) -> None:
        if labels[1] == REPORT:
            self.metrics.increment("sidecar_report_only_total", labels[0], labels[2])
        if record.client is not None and record.client.issued:
            self.metrics.increment("sidecar_issued_tokens_total", record.client.issued)
        if record.ended_by:
            self.metrics.increment("sidecar_streams_ended_total", record.ended_by)

    def handshake(self, result: str, peer: str = "", detail: str = "") -> None:
        """A TLS handshake is over."""
        key = (result,)
        self._handshakes[key] = self._handshakes.get(key, 0) + 1
        if result not in {"full", "resumed"}:
            detail = bounded(detail)
            if self._allowances.take(self._monotonic(), result, detail):
                self._tell("TLS handshake failed", result, peer=bounded(peer), detail=detail)

    def negotiated(self, version: str, group: str, protocol: str) -> None:
        """A handshake succeeded with this TLS version, this group and this protocol."""
        key = (version or NONE, group_label(group), protocol)
        self._negotiated[key] = self._negotiated.get(key, 0) + 1

    def connection_opened(self) -> None:
        """A client connection was accepted."""
        self._open[()] += 1
        self._accepted[()] += 1

    def connection_closed(self) -> None:
        """A client connection is closed."""
        self._open[()] -= 1

    def header_stripped(self, name: str) -> None:
        """A header that claims an identity was not forwarded: counted, and its name logged once."""
        self.metrics.increment("sidecar_incidents_total", "header_stripped")
        name = bounded(name.lower())
        if name not in self._stripped and len(self._stripped) < _MOST_STRIPPED:
            self._stripped.add(name)
            self.journal.info("header not passed on: it claims an identity", name=name)

    def incident(self, name: str, detail: str = "") -> None:
        """An event to count that is not a request."""
        self.metrics.increment("sidecar_incidents_total", name)
        if self._allowances.take(self._monotonic(), name):
            members = {"detail": bounded(detail)} if detail else {}
            (self.journal.warning if name in _WARNED else self.journal.info)("incident", name=name, **members)

    def http2_glitches(self, kind: str, count: int) -> None:
        """Count frames and resets of HTTP/2 clients that count against their allowance."""
        self.metrics.increment("sidecar_http2_glitches_total", kind, by=count)

    def _tell(self, event: str, name: str, **members: str) -> None:
        self.journal.info(event, name=name, **{key: value for key, value in members.items() if value})

    def _tell_sum(self, name: str, detail: str, count: int) -> None:
        """Write the line that summarises the omitted lines of one kind."""
        members = {"detail": detail} if detail else {}
        self.journal.info("lines suppressed", name=name, count=count, **members)
