"""A received message → the input of the decision, or a fault: the only maker of `RequestHead`.

The data plane, `explain`, the admin page's question and policy cases all use it, so that they interpret a request in
the same way.
"""

from typing import Final

from sidecar.decision.denial import Reason
from sidecar.decision.request import RequestHead
from sidecar.http.fields import FieldRules, RequestFields
from sidecar.http.message import Fault, Request, Whole
from sidecar.http.target import Target, parse

_REFUSED_METHODS: Final = frozenset({"TRACE", "CONNECT"})


def request_head(request: Request, fields: RequestFields, rules: FieldRules) -> RequestHead | Fault:
    """The input of the decision about `request`. Its header fields are always classified into `fields`, a new one."""
    whole = request.whole
    if whole is None:
        fields.sort(request.fields, rules)
    else:
        _sort_known(whole, request, fields, rules)
    fault = request.fault or fields.fault or _framing_fault(request, fields)
    if fault is not None:
        return fault
    target = _target(request, fields.hosts)
    return _told(request, fields, target) if isinstance(target, Target) else target


def _sort_known(whole: Whole, request: Request, fields: RequestFields, rules: FieldRules) -> None:
    """As `sort`, of a head that came before."""
    if whole.rules is rules:
        known = whole.sorted
        if isinstance(known, RequestFields):
            fields.copy(known)
            return
    fields.sort(request.fields, rules)
    kept = RequestFields()
    kept.copy(fields)
    whole.rules, whole.sorted = rules, kept


def _target(request: Request, hosts: list[bytes]) -> Target | Fault:
    """The parsed target; mostly it is that of the last request of the connection."""
    last = request.authorization
    if last is None or len(hosts) != 1:
        return parse(request.method, request.target.decode("latin-1"), hosts, request.minor_version)
    known = last.parsed(request.target, hosts[0])
    if isinstance(known, Target):
        return known
    target = parse(request.method, request.target.decode("latin-1"), hosts, request.minor_version)
    # A target in another form depends on the method too.
    if isinstance(target, Target) and request.target.startswith(b"/"):
        last.keep(request.target, hosts[0], target)
    return target


def _framing_fault(request: Request, fields: RequestFields) -> Fault | None:
    if request.method in _REFUSED_METHODS:
        return Fault(Reason.METHOD_REFUSED, request.method)
    if fields.transfer_encoding is not None:
        # RFC 9112 §6.1: "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding
        # header field MUST treat the message as if the framing is faulty"
        if request.minor_version == 0 or fields.content_length is not None:
            return Fault(Reason.REQUEST_MALFORMED, "Transfer-Encoding in HTTP/1.0 or with Content-Length")
        request.chunked = True
    request.content_length = fields.content_length
    if request.upgrade and (request.chunked or request.content_length):
        return Fault(Reason.REQUEST_MALFORMED, "a body on a request to upgrade")
    if request.minor_version == 0:
        # RFC 9110 §10.1.1 and §7.8: both MUST be ignored in an HTTP/1.0 request, which has no trailer fields either.
        fields.expect = fields.upgrade = b""
        fields.takes_trailers = False
    if fields.expect and fields.expect.lower() != b"100-continue":
        return Fault(Reason.EXPECTATION_FAILED, "only 100-continue is understood")
    return None


def _told(request: Request, fields: RequestFields, target: Target) -> RequestHead:
    # Written out, because each request comes by.
    authorization, last = fields.authorization, request.authorization
    return RequestHead(
        request.method,
        target.forwarded,
        target.path,
        target.query,
        target.host,
        authorization=(authorization[0].decode("latin-1") if last is None else last.of(authorization[0]),)
        if len(authorization) == 1
        else tuple([value.decode("latin-1") for value in authorization]),
        # Fetch standard §4.8: a preflight is sent without a body.
        preflight=request.method == "OPTIONS"
        and fields.origin
        and fields.preflight_method
        and not (request.chunked or request.content_length),
        proofs=tuple([value.decode("latin-1") for value in fields.proofs]) if fields.proofs else (),
    )
