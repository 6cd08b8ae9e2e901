"""The audit record: exactly one per request, on every way out, permit or denial."""

from typing import Protocol

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.permit import Permit
from sidecar.decision.request import Presenter
from sidecar.telemetry.sink import LineSink


class AuditRecord:
    """What happened to one request. Filled by the data plane, then observed once.

    Times are seconds since the epoch, durations seconds, sizes bytes. What starts the same for all stands on the
    class: setting it on each instance costs more.
    """

    method: str = ""
    path: str = ""
    """Without the query, which may hold secrets."""
    host: str = ""
    trace_id: str = ""
    """W3C Trace Context: 32 hex digits."""
    reason: Reason | None = None
    """Why it was refused or failed; None when the upstream's answer went to the client in full."""
    detail: str = ""
    """One plain sentence for the log, e.g. which limit was passed; never a token or claim value."""
    status: int = 0
    """What the client got; 0 when it got nothing."""
    upgraded: bool = False
    """The connection became a tunnel."""
    ended_by: str = ""
    """For streams: `token_expired`, `certificate_expired`, `client`, `upstream`, `drain`, `timeout`."""
    grpc_status: int = -1
    """The status that a call of gRPC came to, whoever said it; negative: none."""
    bytes_in: int = 0
    """Bytes of the request body, or from the client through a tunnel."""
    bytes_out: int = 0
    """Bytes of the response body, or to the client through a tunnel."""
    decision_seconds: float = 0.0
    upstream_seconds: float = 0.0
    """From the request's dispatch to the response's head."""
    duration: float = 0.0
    span_id: str = ""
    """The id of our own span, when there is one: what the upstream sees as its parent."""
    parent_id: str = ""
    """The caller's span."""
    sampled: bool = False
    """Whether spans of this request are wanted."""
    traceparent: bytes = b""
    """What the upstream is told."""

    client: "ClientNotes | None" = None
    """Who sent it, where it went to an authorization server's endpoint."""
    has_place: bool = False
    """A place for its line was reserved in the log."""

    def __init__(self, presenter: Presenter, started: float, request_id: str, generation: int) -> None:
        self.presenter = presenter
        self.started = started
        self.request_id = request_id
        self.generation = generation
        """The generation of the policy under which the request was decided."""
        self.decision: Permit | Denial | None = None
        """None when the request never came to a decision (it was not clean HTTP)."""


class ClientNotes:
    """Who sent a request to an authorization server's endpoint, and what was issued."""

    __slots__ = ("client_id", "issued", "issued_detail", "matched", "method")

    def __init__(self, client_id: str, method: str, matched: str) -> None:
        self.client_id = client_id
        """The registered client that the request names."""
        self.method = method
        """How it is registered to authenticate: `tls_client_auth`, `self_signed_tls_client_auth`, `other`."""
        self.matched = matched
        """What of its certificate is registered; empty: it was not authenticated by one."""
        self.issued = ""
        """What the audit of an issued access token found: `bound`, `unbound`, …; empty: there was none."""
        self.issued_detail = ""
        """What is wrong with its binding, in plain words."""


class Observer(Protocol):
    """Who is told what the data plane does. Called on the event loop; must neither block nor raise."""

    @property
    def places(self) -> LineSink | None:
        """Where the place of each record is reserved before its request is forwarded; None: nowhere."""

    def observe(self, record: AuditRecord) -> None:
        """One request is over."""

    def handshake(self, result: str, peer: str = "", detail: str = "") -> None:
        """One TLS handshake is over: `full`, `resumed`, or the failure's stable short name.

        `detail` is what OpenSSL says, for the log.
        """

    def negotiated(self, version: str, group: str, protocol: str) -> None:
        """One handshake succeeded with this version of TLS and this group, each empty when it is not known, and with
        this protocol, one of those that are offered.
        """

    def connection_opened(self) -> None:
        """A client connection was accepted."""

    def connection_closed(self) -> None:
        """A client connection is gone."""

    def header_stripped(self, name: str) -> None:
        """A header that claims an identity, from a peer that may not say it, was not passed on."""

    def incident(self, name: str, detail: str = "") -> None:
        """Something worth counting that is no request: `connection_refused`, `connections_given_up`, `header_dropped`,
        `identity_headers_large`, `upstream_down`, `internal_error`, `http2_flood`, `http2_broken`. The name is a metric
        label from a closed list; `detail` goes to the log, rate-limited.
        """

    def http2_glitches(self, kind: str, count: int) -> None:
        """So many times clients of HTTP/2 took a request back or had it reset (`reset`), or sent a frame that asks for
        nothing (`noise`), since this was told last.
        """
