"""A hypothetical request, read as the data plane reads one: HTTP/1.1 is serialised and parsed, HTTP/2 is read from
its fields.

The result is therefore the same as for a client that sends it, including errors of malformed fields.
"""

from dataclasses import dataclass, replace

from sidecar.decision.denial import Denial, Failure, Reason
from sidecar.decision.key_exchange import GROUPS
from sidecar.decision.permit import Permit
from sidecar.decision.request import Presenter, RequestHead
from sidecar.decision.tls_condition import VERSIONS
from sidecar.http import intake
from sidecar.http.answer import Answer, Answers, document
from sidecar.http.fields import RequestFields
from sidecar.http.http2_request import Http2Request
from sidecar.http.message import Fault, Field, Request
from sidecar.proxy.client.http1_reader import RequestReader
from sidecar.proxy.configuration import HTTP1, HTTP2
from sidecar.proxy.exchange.bounds import bounds
from sidecar.rehearsal.protocol import UNSPOKEN, read_http2
from sidecar.rehearsal.told import of_listener, presented
from sidecar.settings.configuration import Loaded


@dataclass(frozen=True, slots=True)
class Sent:
    """The request of a client."""

    method: str
    target: str
    fields: tuple[Field, ...]
    body: bytes = b""
    protocol: str = HTTP1
    """Its protocol: `HTTP1` or `HTTP2`."""

    def with_token(self, token: str, other: str) -> "Sent":
        """The same request with another token in place of `token`."""
        before, after = token.encode(), other.encode()
        fields = tuple(
            (name, value.replace(before, after) if before else value) for name, value in self.fields
        )
        return replace(self, fields=fields)


@dataclass(frozen=True, slots=True)
class Received:
    """The request after reception by the sidecar."""

    fields: RequestFields
    head: RequestHead | None
    """The input of the decision; None if there is no decision."""
    denial: Denial | None = None
    """Why it is refused before any check."""
    document: Answer | None = None
    """The sidecar's own answer."""
    request: Request | None = None
    """The request itself, as far as it can be read."""

    @property
    def is_grpc(self) -> bool:
        """It is a gRPC call, so an answer must be gRPC too."""
        return isinstance(self.request, Http2Request) and self.request.is_grpc


class Reception:
    """The steps before the decision, under one configuration."""

    def __init__(self, loaded: Loaded) -> None:
        settings, metadata = loaded.proxy, loaded.metadata
        self.bounds = bounds(settings.limits, settings.upstream)
        """The limits of exchanges whose rule sets none."""
        self.answers = Answers(settings.wording(metadata.url if metadata else None))
        self._limits, self._listeners = settings.limits, settings.listeners
        self._rules = settings.field_rules()
        self._upstream_protocol = settings.upstream.protocol
        self._documents = {path: document(body) for path, body in loaded.documents.items()}

    def receive(self, sent: Sent) -> Received:
        """Read the request, up to the decision."""
        fields = RequestFields()
        request = self._read(sent)
        head = intake.request_head(request, fields, self._rules)
        if isinstance(head, Fault):
            failure = Failure("request", head.reason, "clean HTTP", head.detail)
            return Received(fields, None, Denial(head.reason, (failure,)), request=request)
        if head.path in self._documents and head.method in {"GET", "HEAD"}:
            return Received(fields, None, document=self._documents[head.path])
        return Received(fields, head, request=request)

    def identified(self, received: Received, presenter: Presenter, now: float) -> tuple[Received, Presenter]:
        """The same, with the certificate from its field if the listener gets it from a proxy, or the refusal of that
        field.

        Raises `Unverifiable`.
        """
        settings = of_listener(self._listeners, presenter.listener)
        if settings is None or received.denial is not None:
            return received, presenter
        found = presented(settings, received.fields.certificates, presenter, now)
        if isinstance(found, Denial):
            return Received(received.fields, None, found, request=received.request), presenter
        return received, found

    def outcome(self, received: Received, decision: Permit | Denial) -> Permit | Denial:
        """The decision, unless it permits a gRPC call to an API that is reached over HTTP/1.1 (`UnspokenCall`)."""
        if not isinstance(decision, Permit) or not received.is_grpc or self._upstream_protocol == HTTP2:
            return decision
        failure = Failure("upstream", UNSPOKEN, HTTP2, self._upstream_protocol)
        return Denial(UNSPOKEN, (failure,), decision.rule.name, decision.token)

    def _read(self, sent: Sent) -> Request:
        if sent.protocol == HTTP2:
            return read_http2(sent.method, sent.target, sent.fields, self._limits)
        written = _written(sent)
        if isinstance(written, Fault):
            return _faulty(written)
        reader = RequestReader(self._limits)
        reader.unread = written
        reader.read()
        reader.close()
        return reader.message or _faulty(
            reader.fault or Fault(Reason.REQUEST_MALFORMED, "not the head of a request")
        )


def _written(sent: Sent) -> bytes | Fault:
    """RFC 9112 §3. A line end within one part would split the line."""
    line = b"%b %b HTTP/1.1" % (sent.method.encode(), sent.target.encode())
    lines = [line, *(b"%b: %b" % field for field in sent.fields)]
    if any(b"\r" in each or b"\n" in each for each in lines):
        return Fault(Reason.REQUEST_MALFORMED, "a line end inside the request line or a field")
    return b"\r\n".join([*lines, b"", b""])


def _faulty(fault: Fault) -> Request:
    request = Request()
    request.complete, request.fault = True, fault
    return request


def split(url: str) -> tuple[str, str]:
    """Host and request target of a URL; a path alone goes to `localhost`. Raises `ValueError`."""
    if "://" not in url or url.startswith("/"):
        return "localhost", url
    scheme, _, rest = url.partition("://")
    end = min(at for at in (rest.find("/"), rest.find("?"), rest.find("#"), len(rest)) if at >= 0)
    host, target = rest[:end], rest[end:]
    if scheme.lower() not in {"http", "https"} or not host:
        raise ValueError("neither a URL nor a path")
    return host, target if target.startswith("/") else f"/{target}"


def field(text: str) -> Field:
    """Parse `Name: value`. Raises `ValueError`."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ValueError("not 'Name: value'")
    return name.strip().encode(), value.strip().encode()


def credentials(token: str, proof: str = "") -> list[Field]:
    """The fields of a token, with its scheme as tools and logs show it, or without; and of a DPoP proof."""
    fields = []
    if token:
        scheme = "DPoP" if proof else "Bearer"
        fields.append((b"Authorization", (token if " " in token else f"{scheme} {token}").encode()))
    if proof:
        fields.append((b"DPoP", proof.encode()))
    return fields


def tls_of(text: str) -> tuple[str, str]:
    """Parse `1.3` or `1.3/X25519`: version and group, each empty if not given. Raises `ValueError`."""
    version, slash, group = text.partition("/")
    if text and version not in VERSIONS:
        raise ValueError(f"not a version of TLS with, perhaps, a group: {' or '.join(VERSIONS)}, 1.3/X25519")
    if slash and group not in GROUPS:
        raise ValueError(f"not a known group: {', '.join(sorted(GROUPS))}")
    return version, group


def with_host(fields: list[Field], host: str) -> tuple[Field, ...]:
    """The fields, with Host added if it is missing."""
    if any(name.lower() == b"host" for name, _ in fields):
        return tuple(fields)
    return ((b"Host", host.encode()), *fields)
