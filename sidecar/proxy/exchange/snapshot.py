"""What the decision about an exchange and its forwarding depend on: one snapshot, taken once, so that a reload never
splits a request.
"""

import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

from sidecar.decision.denial import Denial
from sidecar.decision.permit import Permit
from sidecar.decision.policy import Rule
from sidecar.decision.request import Presenter, RequestHead
from sidecar.http.answer import Answers, document
from sidecar.http.fields import RequestFields
from sidecar.http.identity import identity_block
from sidecar.http.lines import NO_FIELDS, FieldBlock
from sidecar.http.message import Field
from sidecar.http.redirects import Redirects
from sidecar.http.response_fields import ResponseNames
from sidecar.proxy.configuration import HTTP2, ProxySettings, UpstreamSettings
from sidecar.proxy.exchange.bounds import Bounds, bounds
from sidecar.proxy.exchange.endpoints import ServerEndpoints
from sidecar.proxy.exchange.occupancy import Occupancy
from sidecar.proxy.upstream.pool import UpstreamPool
from sidecar.telemetry.record import AuditRecord, Observer
from sidecar.telemetry.trace_context import UNTRACED, TraceIds

_LOW: Final = tuple(f"{number:02x}" for number in range(256))
"""The last two digits of a number, as a table: formatting a whole number for each request costs more."""


class Authorizes(Protocol):
    """The maker of decisions: `sidecar.authorizer.Authorizer`, or a test double."""

    def authorize(
        self, head: RequestHead, presenter: Presenter, now: float
    ) -> Permit | Denial | Awaitable[Permit | Denial]:
        """Decide at once if everything is in memory, else return an awaitable."""


class BoundsInForce:
    """The bounds of an exchange as native numbers: in compiled code, reading those of `Bounds` costs far more."""

    __slots__ = ("body_bytes", "bounds", "patience", "response_timeout", "stream_timeout")

    def __init__(self, bounds: Bounds, of_service: Bounds | None = None) -> None:
        self.bounds = bounds
        self.body_bytes = bounds.body_bytes
        self.response_timeout = float(bounds.response_timeout)
        self.stream_timeout = float(bounds.stream_timeout)
        self.patience = float(max(bounds.response_timeout, (of_service or bounds).response_timeout))
        """Seconds that a request may pause before it is complete; a rule's shorter timeout applies only after that."""


class Serving:
    """One generation of configuration, as the data plane uses it."""

    def __init__(
        self,
        settings: ProxySettings,
        authorizer: Authorizes,
        pool: UpstreamPool,
        observer: Observer,
        *,
        occupancy: Occupancy,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        report_bug: Callable[[Exception], None],
        generation: int = 1,
        documents: Mapping[str, bytes] | None = None,
        resource_metadata: str | None = None,
        clock: Callable[[], float] = time.time,
        trace: TraceIds = UNTRACED,
        endpoints: ServerEndpoints | None = None,
    ) -> None:
        self.settings = settings
        self.limits, self.timeouts = settings.limits, settings.timeouts
        self._note_numbers(settings)
        self.upstream = upstream = settings.upstream
        self.redirects = _redirects(upstream)
        header = upstream.client_certificate_header
        self.certificate_header = header.writer() if header is not None else None
        """Writes the client's certificate into the request to the API; None: the API does not get it."""
        self.needs_chains = header is not None and header.chain
        """Whether the certificates above the client's certificate are needed."""
        self.bounds = BoundsInForce(bounds(settings.limits, settings.upstream))
        """The limits of exchanges whose rule sets none."""
        self.authorizer = authorizer
        self.pool = pool
        self.occupancy = occupancy
        """Counts requests in progress under rules with a limit on their number; shared by all generations."""
        self.spawn = spawn
        """Runs pending decisions; it ends with the server."""
        self.report_bug = report_bug
        """Receives unexpected exceptions."""
        self.observer = observer
        self.places = observer.places
        """Reserves the place of a record before its request is forwarded; None: nothing is reserved."""
        self.generation = generation
        self.documents = {path: document(body) for path, body in (documents or {}).items()}
        """Path → answer of the sidecar's own."""
        self.answers = Answers(settings.wording(resource_metadata))
        self.endpoints = endpoints
        """Endpoints of the authorization server behind the sidecar; None: none, or the server checks them itself."""
        self.clock = clock
        self.trace = trace
        self.field_rules = settings.field_rules()
        self.response_names = ResponseNames()
        self._instance, self._number = os.urandom(8).hex(), 0
        """Beginning of the ids, which no other generation or process has, and number of the latest."""
        self._prefix = ""
        """Common prefix of the ids of one block of 256: all but the last two digits."""
        self._identity_key = object()
        self._bounds: dict[str, BoundsInForce] = {}
        """Limits by rule name, for rules that set their own."""

    def _note_numbers(self, settings: ProxySettings) -> None:
        """Copy the settings needed per request into native attributes: in compiled code, reading the settings costs
        far more. `http2_scheme` is empty for an upstream that speaks HTTP/1.1.
        """
        self.idle_timeout = float(settings.timeouts.idle)
        limits, upstream = settings.limits, settings.upstream
        self.requests_per_connection = limits.requests_per_connection
        self.buffered_bytes = limits.buffered_bytes
        self.target_bytes = limits.target_bytes
        self.header_bytes = limits.header_bytes
        self.headers = limits.headers
        self.identity_header_bytes = limits.identity_header_bytes
        self.total_timeout = float(upstream.total_timeout)
        self.forwards_token = upstream.forward_token
        self.http2_scheme = upstream.scheme.encode("ascii") if upstream.protocol == HTTP2 else b""

    def next_id(self) -> str:
        """A request id, unique across processes. It is no secret: consecutive requests have consecutive ids."""
        self._number = number = self._number + 1
        low = number & 255
        if not low or number == 1:
            self._prefix = f"{self._instance}{number >> 8:06x}"
        return self._prefix + _LOW[low]

    def bounds_under(self, rule: Rule) -> BoundsInForce:
        """The limits of the exchanges of a rule that sets its own."""
        found = self._bounds.get(rule.name)
        if found is None:
            found = self.bounds
            if rule.limits is not None:
                found = BoundsInForce(found.bounds.under(rule.limits), found.bounds)
            self._bounds[rule.name] = found
        return found

    def identity_block(self, permit: Permit) -> FieldBlock | None:
        """The identity headers of a permit; None if they are larger than the limit."""
        token = permit.token
        if token is None:
            return NO_FIELDS
        names = permit.rule.identity_headers
        # The key is the rule's name, since a rule has no hash, and our own key, since the name may mean another rule
        # after a reload.
        key = self._identity_key if names is None else (self._identity_key, permit.rule.name)
        block: FieldBlock | None = token.renderings.get(key)
        if block is None:
            mapping = self.upstream.identity_headers if names is None else names
            block = token.renderings[key] = FieldBlock(identity_block(token.claims, mapping))
            if len(block.lines) > self.identity_header_bytes:
                self.observer.incident("identity_headers_large", f"{len(block.lines)} bytes")
        return block if len(block.lines) <= 2 * self.identity_header_bytes else None

    def tracing(self, fields: RequestFields, record: AuditRecord) -> bytes:
        """The lines `traceparent`, and `X-Request-Id` unless the client set its own."""
        if fields.request_id:
            return b"traceparent: %b\r\n" % record.traceparent
        return b"traceparent: %b\r\nX-Request-Id: %b\r\n" % (
            record.traceparent,
            record.request_id.encode("ascii"),
        )

    def trace_fields(self, fields: RequestFields, record: AuditRecord) -> list[Field]:
        """What `tracing` says, for HTTP/2."""
        if fields.request_id:
            return [(b"traceparent", record.traceparent)]
        return [(b"traceparent", record.traceparent), (b"x-request-id", record.request_id.encode("ascii"))]


def _redirects(upstream: UpstreamSettings) -> Redirects | None:
    if not upstream.rewrites_redirects:
        return None
    return Redirects(upstream.scheme, upstream.host, upstream.port)
