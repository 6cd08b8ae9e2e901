"""The audit record: exactly one per request, for every outcome, permit or denial."""

from typing import Protocol

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.permit import Permit
from sidecar.decision.request import Presenter
from sidecar.telemetry.sink import LineSink


class AuditRecord:
    """The result of one request. The data plane fills it; then it is observed once.

    Times are seconds since the epoch, durations seconds, sizes bytes. Attributes with a common initial value are
    class attributes: setting them on each instance costs more.
    """

    method: str = ""
    path: str = ""
    """Without the query, which may hold secrets."""
    host: str = ""
    trace_id: str = ""
    """W3C Trace Context: 32 hex digits."""
    reason: Reason | None = None
    """Why it was refused or failed; None if the complete response was sent to the client."""
    detail: str = ""
    """One plain sentence for the log, e.g. which limit was exceeded; never a token or claim value."""
    status: int = 0
    """The status sent to the client; 0 if none was sent."""
    upgraded: bool = False
    """The connection became a tunnel."""
    ended_by: str = ""
    """How a stream ended: `token_expired`, `certificate_expired`, `client`, `upstream`, `drain`, `timeout`."""
    grpc_status: int = -1
    """The gRPC status of a call, from the API or the sidecar; negative: none."""
    bytes_in: int = 0
    """Bytes of the request body, or from the client through a tunnel."""
    bytes_out: int = 0
    """Bytes of the response body, or to the client through a tunnel."""
    decision_seconds: float = 0.0
    upstream_seconds: float = 0.0
    """From sending the request to receiving the response head."""
    duration: float = 0.0
    span_id: str = ""
    """The id of our span, if there is one: the parent for the upstream."""
    parent_id: str = ""
    """The caller's span."""
    sampled: bool = False
    """Whether spans of this request are exported."""
    traceparent: bytes = b""
    """The `traceparent` for the upstream."""

    client: "ClientNotes | None" = None
    """The client, if the request went to an authorization server's endpoint."""
    has_place: bool = False
    """A place for its line was reserved in the log."""

    has_plain_ids: bool = False
    """`request_id` and `trace_id` are hex digits, so that no one has to escape them."""
    labels: tuple[str, ...] = ()
    """Rule, outcome and reason (`outcome.Labels`), set when the record was observed."""

    def __init__(self, presenter: Presenter, started: float, request_id: str, generation: int) -> None:
        self.presenter = presenter
        self.started = started
        self.request_id = request_id
        self.generation = generation
        """The generation of the policy under which the request was decided."""
        self.decision: Permit | Denial | None = None
        """None if no decision was made about the request (it was not valid HTTP)."""


class ClientNotes:
    """The client of a request to an authorization server's endpoint, and the token issued to it."""

    __slots__ = ("client_id", "issued", "issued_detail", "matched", "method")

    def __init__(self, client_id: str, method: str, matched: str) -> None:
        self.client_id = client_id
        """The registered client that the request names."""
        self.method = method
        """Its registered authentication method: `tls_client_auth`, `self_signed_tls_client_auth`, `other`."""
        self.matched = matched
        """The registered property of its certificate; empty: it was not authenticated by one."""
        self.issued = ""
        """Result of the check of an issued access token: `bound`, `unbound`, …; empty: there was none."""
        self.issued_detail = ""
        """What is wrong with its binding, as text."""


class Observer(Protocol):
    """Observer of the data plane. Called on the event loop; must neither block nor raise."""

    @property
    def places(self) -> LineSink | None:
        """Reserves the place of each record before its request is forwarded; None: nothing is reserved."""

    def observe(self, record: AuditRecord) -> None:
        """A request is over."""

    def handshake(self, result: str, peer: str = "", detail: str = "") -> None:
        """A TLS handshake is over: `full`, `resumed`, or the failure's stable short name.

        `detail` is OpenSSL's text, for the log.
        """

    def negotiated(self, version: str, group: str, protocol: str) -> None:
        """A handshake succeeded with this TLS version and group, each empty if unknown, and with this protocol, one
        of those offered.
        """

    def connection_opened(self) -> None:
        """A client connection was accepted."""

    def connection_closed(self) -> None:
        """A client connection is closed."""

    def header_stripped(self, name: str) -> None:
        """A header that claims an identity, from a peer that may not send it, was not forwarded."""

    def incident(self, name: str, detail: str = "") -> None:
        """An event to count that is not a request: `connection_refused`, `connections_given_up`, `header_dropped`,
        `identity_headers_large`, `upstream_down`, `internal_error`, `http2_flood`, `http2_broken`. The name is a
        metric label from a closed list; `detail` is logged, rate-limited.
        """

    def http2_glitches(self, kind: str, count: int) -> None:
        """Since the last call, clients of HTTP/2 cancelled a request or had it reset (`reset`), or sent a frame that
        requests nothing (`noise`), this many times.
        """
