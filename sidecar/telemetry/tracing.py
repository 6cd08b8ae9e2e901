"""OpenTelemetry spans through OTLP, made after a request from its measurements.

Theory of operation. This module is imported only if an endpoint is configured. A request's record holds its position
in the trace and the durations of its parts. When the request is over, its spans are made with these times and added
to the SDK's batch queue, which a separate thread sends. A full queue drops spans and never waits.
"""

from dataclasses import dataclass

from sidecar.decision.permit import Permit
from sidecar.telemetry.configuration import TracingSettings
from sidecar.telemetry.issuer_observer import Introspected, KeysRefreshed
from sidecar.telemetry.outcome import FAIL, Labels
from sidecar.telemetry.record import AuditRecord
from sidecar.telemetry.trace_context import TraceIds

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
except ImportError as error:
    raise OSError(f"tracing needs the extra [otel]: {error.name} is not installed") from None

Attributes = dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Span:
    """One span; times in seconds since the epoch."""

    name: str
    own: SpanContext
    parent: SpanContext | None
    start: float
    end: float
    attributes: Attributes
    failed: bool = False
    kind: SpanKind = SpanKind.SERVER


class Tracer:
    """Makes the spans of requests and of questions to issuers."""

    def __init__(self, settings: TracingSettings, version: str) -> None:
        """Raises `OSError` if the extra is not installed (at import)."""
        resource = {"service.name": settings.service_name, "service.version": version, **settings.attributes}
        self._resource = Resource.create(resource)
        endpoint = f"{(settings.endpoint or '').rstrip('/')}/v1/traces"
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=5))
        self._ids = RandomIdGenerator()
        bound = TraceIdRatioBased.get_bound_for_rate(settings.sample_ratio)
        self.trace_ids = TraceIds(has_spans=True, sampled=lambda trace: int(trace[16:], 16) < bound)

    def request(self, record: AuditRecord, labels: Labels) -> None:
        """The spans of one finished request: itself, the decision, the upstream."""
        if not record.sampled:
            return
        own = _context(record.trace_id, record.span_id)
        parent = _context(record.trace_id, record.parent_id) if record.parent_id else None
        failed = labels[1] == FAIL
        began, end = record.started, record.started + record.duration
        self._export(
            Span(record.method or "request", own, parent, began, end, _attributes(record, labels), failed)
        )
        decided = began + record.decision_seconds
        if record.decision is not None:
            verdict: Attributes = dict(
                zip(("sidecar.rule", "sidecar.outcome", "sidecar.reason"), labels, strict=True)
            )
            self._export(
                Span("decision", self._child(record), own, began, decided, verdict, kind=SpanKind.INTERNAL)
            )
        if record.upstream_seconds:
            answered = min(end, decided + record.upstream_seconds)
            self._export(
                Span("upstream", self._child(record), own, decided, answered, {}, failed, SpanKind.CLIENT)
            )

    def keys_refreshed(self, event: KeysRefreshed, now: float) -> None:
        """A fetch of keys: a separate trace, since many requests share it."""
        self._alone("keys", event.issuer, event.result, event.seconds, now, failed=event.result != "success")

    def introspected(self, event: Introspected, now: float) -> None:
        """A question about a token."""
        failed = event.result not in {"active", "inactive"}
        self._alone("introspection", event.issuer, event.result, event.seconds, now, failed=failed)

    def close(self) -> None:
        """Send the remaining spans; waits a few seconds at most."""
        self._processor.force_flush(3000)
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK left it unannotated

    def _alone(
        self, name: str, issuer: str, result: str, seconds: float, now: float, *, failed: bool
    ) -> None:
        own = _context(f"{self._ids.generate_trace_id():032x}", f"{self._ids.generate_span_id():016x}")
        attributes: Attributes = {"sidecar.issuer": issuer, "sidecar.result": result}
        self._export(Span(name, own, None, now - seconds, now, attributes, failed, SpanKind.CLIENT))

    def _child(self, record: AuditRecord) -> SpanContext:
        return _context(record.trace_id, f"{self._ids.generate_span_id():016x}")

    def _export(self, span: "Span") -> None:
        self._processor.on_end(
            ReadableSpan(
                name=span.name,
                context=span.own,
                parent=span.parent,
                resource=self._resource,
                attributes=span.attributes,
                kind=span.kind,
                status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
                start_time=int(span.start * 1e9),
                end_time=int(span.end * 1e9),
            )
        )


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(1))


def _attributes(record: AuditRecord, labels: Labels) -> Attributes:
    """OpenTelemetry's semantic conventions for HTTP servers; never a token, query or claim value."""
    attributes: Attributes = {
        "http.request.method": record.method,
        "http.route": labels[0],
        "url.path": record.path,
        "url.scheme": "https",
        "server.address": record.host,
        "http.response.status_code": record.status,
        "sidecar.request_id": record.request_id,
        "sidecar.generation": record.generation,
    }
    if isinstance(record.decision, Permit) and record.decision.confirmed:
        attributes["sidecar.confirmed"] = ",".join(one.member for one in record.decision.confirmed)
    return attributes
