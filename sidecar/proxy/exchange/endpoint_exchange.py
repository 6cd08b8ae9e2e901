"""A request to an authorization server's endpoint: the whole request is read before the decision, the whole response
before it is passed on.

Theory of operation. An `Exchange` forwards content as it arrives; this subclass keeps it back. It keeps the content
of the request until the decision about the whole request, and the content of a response that is checked. The `Course`
decides and checks. Everything else is as in any exchange: limits, the pool, deadlines, the one record.
"""

from collections.abc import Awaitable
from time import perf_counter
from typing import Final

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.permit import Permit
from sidecar.http.answer import Answer
from sidecar.http.lines import field_lines
from sidecar.http.message import Fault, Field, Request, Response
from sidecar.http.response_fields import ResponseFields
from sidecar.proxy.exchange.endpoints import (
    MOST_ANSWER,
    AnswerRefused,
    AnswerReplaced,
    Course,
    Judgement,
    Outgoing,
    ServerEndpoints,
)
from sidecar.proxy.exchange.errand import Errand
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.exchange.snapshot import Serving
from sidecar.proxy.exchange.stream import ClientStream

_DECISIONS: Final = (Permit, Denial)
_OUTCOMES: Final = (Outgoing, Answer)
_AS_LONG_AS_NONCE: Final = len(b"dpop-nonce")
_JUDGEMENTS: Final = (AnswerRefused, AnswerReplaced, type(None))
_OF_ANOTHER_CONTENT: Final = frozenset(
    {
        b"accept-ranges", b"content-digest", b"content-encoding", b"content-length", b"content-md5", b"digest", b"etag",
        b"last-modified", b"repr-digest", b"transfer-encoding",
    }
)  # fmt: skip
"""Fields of a response that describe its content, and are wrong for other content."""


class KeptContent:
    """Content that is kept back. Usually it arrives in one piece, which is not copied; many pieces use no more memory
    than their total length.
    """

    __slots__ = ("_first", "_more", "size")

    def __init__(self) -> None:
        self._first = b""
        self._more: bytearray | None = None
        self.size = 0
        """Number of bytes kept."""

    def add(self, piece: bytes) -> None:
        """Append a piece."""
        self.size += len(piece)
        if self._more is not None:
            self._more += piece
        elif self._first:
            self._more = bytearray(self._first)
            self._more += piece
            self._first = b""
        else:
            self._first = piece

    def so_far(self) -> bytes:
        """All content received so far."""
        return self._first if self._more is None else bytes(self._more)

    def taken(self) -> bytes:
        """Return all content and release it."""
        data = self.so_far()
        self._first, self._more, self.size = b"", None, 0
        return data


class EndpointExchange(Exchange):
    """One request to an endpoint, and its response."""

    _course: Course | None = None
    reads_whole = False
    """The request is still arriving and is kept back."""
    _outgoing: Outgoing | None = None
    _answer: Response | None = None
    """The head of a response that is kept back."""
    _is_too_long = False
    _endpoints: ServerEndpoints
    _content = b""
    """The whole content of the request, once it is complete."""
    _kept_answer: KeptContent
    _body: KeptContent

    def __init__(
        self, stream: ClientStream, request: Request, serving: Serving, endpoints: ServerEndpoints
    ) -> None:
        super().__init__(stream, request, serving)
        self._endpoints = endpoints
        self._body, self._kept_answer = KeptContent(), KeptContent()

    # --- the request ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Read the content, unless the head alone is refused."""
        head = self._received()
        if isinstance(head, Fault):
            self.fail(head.reason, head.detail)
            return
        record, self._head = self.record, head
        record.path, record.host = head.path, head.host
        course = self._endpoints.course(head)
        if isinstance(course, Denial):
            self._decided(course)
            return
        self._course, self._body_limit = course, course.most_body
        if (self.request.content_length or 0) > course.most_body > 0:
            self.fail(Reason.BODY_TOO_LARGE, f"body over {course.most_body} bytes")
            return
        if not course.reads_body:
            if self.request.chunked or self.request.content_length:
                self.fail(Reason.REQUEST_MALFORMED, "content where none belongs")
            else:
                self._decide()
            return
        self.reads_whole = True
        if self.fields.expect and not self.request.complete:
            # RFC 9110 §10.1.1: a server that needs the content before it forwards anything sends 100 itself.
            self._ask_for_content()
        if not self.request.complete:
            self.stream.expect_more(self._serving.upstream.response_timeout)
        self.request_arrived()

    def _ask_for_content(self) -> None:
        self.fields.expect = b""
        head = Response()
        head.status, head.phrase, head.interim = 100, b"Continue", True
        self.stream.expect_body()
        self.stream.interim(head, ResponseFields())

    def request_arrived(self) -> None:
        """More of the request has arrived."""
        request = self.request
        if not self.reads_whole or self.ending.is_answered or request.fault is not None:
            super().request_arrived()
            return
        if request.body_bytes > self._body_limit:
            self.fail(Reason.BODY_TOO_LARGE, f"body over {self._body_limit} bytes")
            return
        self._body.add(request.take_body())
        request.kept_bytes = self._body.size
        if request.complete:
            self.reads_whole, self._content = False, self._body.taken()
            request.kept_bytes = 0
            self._decide()

    def abandon(self, cause: str = "client") -> None:
        """The client has disconnected."""
        if self.reads_whole and not self.ending.is_over:
            self.record.reason, self.record.detail = (
                Reason.REQUEST_MALFORMED,
                "the client left within its form",
            )
        super().abandon(cause)

    def _decide(self) -> None:
        course, head = self._course, self._head
        assert course is not None  # noqa: S101 — set by `begin`
        assert head is not None  # noqa: S101 — set by `begin`
        stream, now = self.stream, self._serving.clock()  # the content may have taken its time
        decision = course.decide(
            head, self.request, self.fields, self._content, presenter=self.record.presenter, now=now
        )
        self.record.client = course.notes()
        if isinstance(decision, _DECISIONS):
            self._decided(decision)
        else:
            stream.expect_answer(self._serving.upstream.response_timeout)
            self._serving.spawn(self._await_decision(decision))

    # --- forwarding ----------------------------------------------------------------------------------

    def _forward(self, permit: Permit) -> None:
        course, head = self._course, self._head
        assert course is not None  # noqa: S101 — nothing is permitted without one
        assert head is not None  # noqa: S101 — a decision was made about it
        outgoing = course.outgoing(permit, head, self.fields, self._content, self.record.presenter)
        if isinstance(outgoing, _OUTCOMES):
            self._go_on(permit, outgoing)
        else:
            self.stream.expect_answer(self._serving.upstream.response_timeout)
            self._serving.spawn(self._await_outgoing(permit, outgoing))

    async def _await_outgoing(self, permit: Permit, outgoing: Awaitable[Outgoing | Answer]) -> None:
        try:
            ready = await outgoing
            if not self.is_over:
                self._go_on(permit, ready)
        except Exception as error:  # noqa: BLE001 — any exception is an internal error and permits nothing
            self.broke(error)

    def _go_on(self, permit: Permit, outgoing: Outgoing | Answer) -> None:
        if isinstance(outgoing, Outgoing):
            self._send(permit, outgoing)
            return
        self.stream.was_permitted |= permit.token is not None
        self.record.bytes_out = len(outgoing.body(self.record.request_id))
        self.ending.answer(outgoing)

    def _send(self, permit: Permit, outgoing: Outgoing) -> None:
        course, request = self._course, self.request
        self._outgoing = outgoing
        if permit.would_deny is None:
            self.valid_until = min(
                self.valid_until, self.stream.certificate_until, self.record.presenter.ends
            )
            if self._is_late():
                self.end_stream("certificate_expired")
                return
        if course is not None and course.reads_body:
            request.chunks = [outgoing.body] if outgoing.body else []
            request.body_bytes = request.content_length = len(outgoing.body)
            request.chunked, request.trailers = False, []
        super()._forward(permit)

    def _request_head(self, permit: Permit) -> bytes | None:
        request, fields, outgoing, serving = self.request, self.fields, self._outgoing, self._serving
        assert outgoing is not None  # noqa: S101 — set before anything is forwarded
        if outgoing.host:
            fields.hosts = [outgoing.host]
        for name, _ in fields.claims:  # those that no client may send
            serving.observer.header_stripped(name.decode("latin-1"))
        kept = [field for field in fields.kept if field[0].lower() not in outgoing.dropped]
        if outgoing.authorization:
            kept += [(b"Authorization", value) for value in fields.authorization]
        said = self.stream.forwarding(fields).lines + serving.tracing(fields, self.record)
        return self._head_of(request.method.encode("ascii"), outgoing, field_lines(kept), said)

    def _head_of(self, method: bytes, outgoing: Outgoing, kept: bytes, said: bytes) -> bytes:
        """The sidecar's own fields come last, so that none of them can be removed or repeated."""
        hosts = self.fields.hosts
        line = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, outgoing.target, hosts[0] if hosts else b"")
        # Content without a length would be the next request to the server (RFC 9112 §6.3).
        is_said = method == b"POST" or outgoing.body
        length = b"Content-Length: %d\r\n" % len(outgoing.body) if is_said else b""
        return b"".join((line, kept, said, outgoing.lines, length, b"\r\n"))

    # --- the response --------------------------------------------------------------------------------

    def response_arrived(self, heads: list[Response], body: list[bytes], response: Response) -> None:
        """A part of the response has arrived."""
        course = self._course
        if course is None or self.ending.has_begun:
            super().response_arrived(heads, body, response)
            return
        for head in heads:
            if head.interim:
                continue  # 100 was sent already, and other interim responses are of no use before the verdict
            denial = course.refusal(head)
            if denial is not None:
                self._refuse(denial)
                return
            if not course.reads_answer(head):
                super().response_arrived([head], body, response)
                return
            self._answer = head
        if self._answer is None:
            return
        kept = self._kept_answer
        for piece in body:
            kept.add(piece)
        if kept.size > MOST_ANSWER:
            self._is_too_long = True
        if self._is_too_long or response.complete:
            self._judge(course, self._answer, response)

    def _judge(self, course: Course, head: Response, response: Response) -> None:
        body = None if self._is_too_long else self._kept_answer.so_far()
        if response.complete:
            self._let_go(response)
        judged = course.judged(head, body, self.record.presenter)
        if isinstance(judged, _JUDGEMENTS):
            self._judged(judged, head, response)
            return
        if self._upstream is not None:
            self._upstream.hold()
        self.stream.expect_answer(self._serving.upstream.response_timeout)
        self._serving.spawn(self._await_judgement(judged, head, response))

    def _let_go(self, response: Response) -> None:
        """The response is complete: its connection may carry another request."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if response.keep_alive and self.is_sent and not upstream.blocked:
                upstream.release()
            else:
                upstream.discard()

    async def _await_judgement(
        self, judged: Awaitable[Judgement], head: Response, response: Response
    ) -> None:
        try:
            judgement = await judged
            if not self.is_over:
                self._judged(judgement, head, response)
        except Exception as error:  # noqa: BLE001 — as for the decision
            self.broke(error)

    def _judged(self, judgement: Judgement, head: Response, response: Response) -> None:
        course = self._course
        if course is not None:
            self.record.client = course.notes()
        if isinstance(judgement, AnswerRefused):
            for errand in judgement.errands:
                self._serving.spawn(self._run(errand))
            self._refuse(judgement.denial)
            return
        body = self._kept_answer.taken()
        if isinstance(judgement, AnswerReplaced):
            body = judgement.body
            head.fields = [field for field in head.fields if field[0].lower() not in _OF_ANOTHER_CONTENT]
            if self.request.method != "HEAD":
                head.fields.append((b"Content-Length", b"%d" % len(body)))
            else:
                body = b""
        if self._upstream is not None:
            self._upstream.resume()  # before the client has the content: if it does not read, it holds the upstream
        super().response_arrived([head], [body] if body else [], response)

    def _respond(self, head: Response, data: bytes, end: list[Field] | None) -> None:
        for name, value in head.fields:
            if len(name) == _AS_LONG_AS_NONCE and name.lower() == b"dpop-nonce" and value.isascii():
                self._nonce = value.decode(
                    "ascii"
                )  # RFC 9449 §8: the server's own, for the client's next proof
        super()._respond(head, data, end)

    async def _run(self, outgoing: Outgoing) -> None:
        """Post a form of the sidecar's own (RFC 7009)."""
        serving = self._serving
        said = self.stream.forwarding(self.fields).lines + serving.tracing(self.fields, self.record)
        head = self._head_of(b"POST", outgoing, b"Content-Type: application/x-www-form-urlencoded\r\n", said)
        status = await Errand(head, outgoing.body).run(serving.pool, serving.upstream.response_timeout)
        name = "token_revoked" if status == 200 else "token_not_revoked"
        serving.observer.incident(name, "" if status == 200 else f"the server's answer: {status or 'none'}")

    def _refuse(self, denial: Denial) -> None:
        """Refuse: the upstream has responded, and its response is not passed on."""
        self._drop_upstream()
        detail = denial.failures[0].presented if denial.failures else ""
        self.record.upstream_seconds = perf_counter() - self._dispatched
        self.ending.refuse(denial, detail)


def exchange_for(
    stream: ClientStream, request: Request, serving: Serving, endpoints: ServerEndpoints
) -> Exchange:
    """The exchange of a request, if some paths are endpoints of an authorization server."""
    if endpoints.covers(request.target):
        return EndpointExchange(stream, request, serving, endpoints)
    return Exchange(stream, request, serving)
