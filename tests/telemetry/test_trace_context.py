"""Traces: continued when the caller's word is well-formed, begun otherwise, and passed on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.telemetry.trace_context import Parent, TraceIds, parse
from tests.process.world import sidecar
from tests.support.issuer import ScriptedIssuer
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.records import record

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{SPAN}-01"


def test_well_formed_traceparent_is_read() -> None:
    assert parse(GIVEN.encode()) == Parent(TRACE, SPAN, sampled=True)
    assert parse(f"00-{TRACE}-{SPAN}-00".encode()) == Parent(TRACE, SPAN, sampled=False)


def test_higher_version_is_read_as_far_as_this_one_goes() -> None:
    assert parse(f"cc-{TRACE}-{SPAN}-01-what-the-future-brings".encode()) == Parent(TRACE, SPAN, sampled=True)
    assert parse(f"cc-{TRACE}-{SPAN}-01".encode()) == Parent(TRACE, SPAN, sampled=True)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "?",
        GIVEN.upper(),
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE}-{SPAN}-0",
        f"00-{TRACE}-{SPAN}-zz",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f'00-{TRACE[:-2]}"}}-{SPAN}-01',
        f" {GIVEN}",
        f"{GIVEN}\n",
    ],
)
def test_malformed_traceparent_begins_a_new_trace(value: str) -> None:
    request = record(request_id="56ff992aafd3a60100000001")
    TraceIds().place(value.encode(), request)
    assert request.trace_id != TRACE
    assert parse(request.traceparent) is not None
    assert value.encode() not in request.traceparent or not value


def test_without_spans_of_our_own_the_callers_word_is_passed_on_as_it_came() -> None:
    request = record(request_id="56ff992aafd3a60100000001")
    TraceIds().place(GIVEN.encode(), request)
    assert (request.trace_id, request.traceparent, request.sampled) == (TRACE, GIVEN.encode(), False)


def test_with_spans_the_upstream_sees_ours_as_its_parent() -> None:
    request = record(request_id="56ff992aafd3a60100000001")
    TraceIds(has_spans=True).place(GIVEN.encode(), request)
    assert (request.trace_id, request.parent_id, request.sampled) == (TRACE, SPAN, True)
    assert request.traceparent == f"00-{TRACE}-{request.span_id}-01".encode()
    assert request.span_id != SPAN


def test_trace_that_begins_here_is_sampled_as_configured() -> None:
    for sampled in (True, False):
        request = record()
        TraceIds(has_spans=True, sampled=lambda _trace, answer=sampled: answer).place(b"", request)  # type: ignore[misc]
        assert request.sampled is sampled
        assert request.traceparent.endswith(b"-01" if sampled else b"-00")


@pytest.fixture
def collector() -> Iterator[tuple[ScriptedIssuer, list[Span]]]:
    """An OTLP collector: a plain HTTP server that keeps the spans it is sent."""
    spans: list[Span] = []

    async def collect(request: web.Request) -> web.Response:
        message = ExportTraceServiceRequest.FromString(await request.read())
        spans.extend(
            span for one in message.resource_spans for scope in one.scope_spans for span in scope.spans
        )
        return web.Response()

    with ScriptedIssuer() as server:
        server.answers["/v1/traces"] = collect
        yield server, spans


def test_spans_reach_a_collector_with_the_callers_trace(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, collector: tuple[ScriptedIssuer, list[Span]]
) -> None:
    server, spans = collector
    service = {"tracing": {"endpoint": server.url, "attributes": {"deployment.environment": "test"}}}
    with sidecar(tmp_path, pki, signing_key, service) as (one, upstream):
        with one.connect(pki.client) as wire:
            token = signing_key.token(pki.client)
            answer = wire.request("GET", "/accounts/1?secret=x", {"traceparent": GIVEN}, token=token)
            assert answer.status == 200
            assert wire.request("GET", "/accounts/2", {"traceparent": GIVEN}).status == 401
        assert one.stop() == 0
    eventually(lambda: len(of_the_caller(spans)) >= 5 and any(span.name == "keys" for span in spans))
    ours = of_the_caller(spans)
    names = sorted(span.name for span in ours)
    assert names == ["GET", "GET", "decision", "decision", "upstream"]
    served = next(
        span for span in ours if span.name == "GET" and _attribute(span, "http.response.status_code") == 200
    )
    assert served.parent_span_id.hex() == SPAN
    assert upstream.seen[0].all("traceparent") == [f"00-{TRACE}-{served.span_id.hex()}-01"]
    children = [span.name for span in ours if span.parent_span_id == served.span_id]
    assert sorted(children) == ["decision", "upstream"]
    everything = json.dumps([str(span) for span in spans])
    assert token not in everything
    assert "secret=x" not in everything


def of_the_caller(spans: list[Span]) -> list[Span]:
    return [span for span in spans if span.trace_id.hex() == TRACE]


def _attribute(span: Span, name: str) -> int:
    return next((one.value.int_value for one in span.attributes if one.key == name), 0)
