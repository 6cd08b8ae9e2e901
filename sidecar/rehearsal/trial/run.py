"""Runs one case: the request passes the real parser, the real authorizer and the real header rules."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from sidecar.authorizer import Authorizer
from sidecar.decision.denial import Denial, Failure, shape
from sidecar.decision.permit import Permit
from sidecar.decision.policy import IssuerPolicy, RuleLimits
from sidecar.decision.replay import Rehearsal
from sidecar.decision.request import ClientCertificate, Presenter
from sidecar.decision.strict import base64url_text
from sidecar.decision.token_error import CODES
from sidecar.http import grpc
from sidecar.http.answer import Answer
from sidecar.http.fields import RequestFields
from sidecar.http.forwarding import Forwarding
from sidecar.http.identity import identity_block
from sidecar.http.lines import field_lines
from sidecar.http.message import Field
from sidecar.proxy.configuration import ListenerSettings
from sidecar.proxy.exchange.bounds import Bounds
from sidecar.rehearsal.endpoints import Decided, token_endpoint
from sidecar.rehearsal.protocol import chosen, with_call_fields
from sidecar.rehearsal.request import Received, Reception, Sent
from sidecar.rehearsal.told import Unverifiable
from sidecar.rehearsal.trial.certificate import Issue
from sidecar.rehearsal.trial.played_clients import PlayedClients
from sidecar.rehearsal.trial.played_endpoints import played_endpoints
from sidecar.rehearsal.trial.played_issuers import PlayedIssuers
from sidecar.rehearsal.trial.result import CaseMistake
from sidecar.settings.cases import PolicyCase
from sidecar.settings.configuration import Loaded

_PEER = "192.0.2.1"
"""A client address from the documentation range (RFC 5737)."""
NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Played:
    """The result of a request."""

    status: int
    """HTTP status. A refused gRPC call has the status of its record here, and that of its caller in `grpc_status`."""
    reason: str | None = None
    rule: str | None = None
    would_deny: str | None = None
    error: str = "none"
    failures: tuple[Failure, ...] = ()
    upstream_headers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Lower-case name → values; empty if nothing is forwarded."""
    challenge: str | None = None
    bounds: Bounds | None = None
    """None if nothing is forwarded."""
    answer: Answer | None = None
    """The sidecar's answer; None if the request is forwarded."""
    grpc_status: int | None = None
    """None if it is not a gRPC call."""


class Stage:
    """One policy with all components that a request passes."""

    def __init__(self, loaded: Loaded, issuers: PlayedIssuers) -> None:
        self.loaded = loaded
        self.settings = settings = loaded.proxy
        self.reception = Reception(loaded)
        self.issuers = issuers
        self.policy = issuers.policy
        nonces = loaded.nonces()
        self.clients = PlayedClients(self.policy, nonces)
        # One authorizer for all cases, as in the running process, so that its cache is tested too.
        self.authorizer = Authorizer(
            self.policy,
            issuers,
            issuers,
            Rehearsal(),
            digest_key=b"cases",
            elapsing=float,  # no time passes
            nonces=nonces,
            token_bytes=settings.limits.token_bytes,
        )
        self.endpoints = played_endpoints(loaded, self.authorizer)

    async def play(self, case: PolicyCase, issue: Issue, now: float) -> Played:
        """The result of one case at `now`. Raises `CaseMistake`."""
        certificate = None if case.certificate is None else issue(case.certificate)
        sent = self._fields(case, certificate, issue, now)
        presenter = self._presenter(case, certificate)
        received = self.reception.receive(
            Sent(self._method(case), self._target(case), tuple(sent), protocol=presenter.protocol)
        )
        try:
            received, presenter = self.reception.identified(received, presenter, now)
        except Unverifiable as problem:
            raise CaseMistake(str(problem)) from None
        came = await self._came(case, received, presenter, now)
        if not received.is_grpc:
            return came
        return replace(came, grpc_status=grpc.OK if came.answer is None else grpc.status(came.answer))

    async def _came(self, case: PolicyCase, received: Received, presenter: Presenter, now: float) -> Played:
        request = case.request
        if received.denial is not None:
            return self._refused(received.denial)
        if received.head is None:
            return Played(status=200)
        if self.endpoints is not None:
            form = urlencode(request.form or {}, doseq=True).encode()
            found = self.endpoints.decided(received, form, presenter, now)
            if found is not None:
                return self._at_endpoint(found, received.fields)
        decision = self.authorizer.authorize(received.head, presenter, now)
        if inspect.isawaitable(decision):
            decision = await decision
        decision = self.reception.outcome(received, decision)
        if isinstance(decision, Denial):
            return self._refused(decision)
        return self._forwarded(decision, received.fields, presenter)

    def line(self, case: PolicyCase) -> str:
        """Method and target of a case."""
        return f"{self._method(case)} {self._target(case)}"

    @staticmethod
    def _method(case: PolicyCase) -> str:
        return case.request.method or ("GET" if case.request.form is None else "POST")

    def _target(self, case: PolicyCase) -> str:
        server = self.loaded.authorization_server
        if case.request.target is None and case.request.form is not None and server is not None:
            return token_endpoint(server)
        return case.request.target or "/"

    def _at_endpoint(self, found: Decided, fields: RequestFields) -> Played:
        if isinstance(found.decision, Denial):
            return self._refused(found.decision)
        denial = found.decision.would_deny
        return Played(
            status=200,
            rule=found.decision.rule.name,
            would_deny=denial.reason.value if denial else None,
            failures=denial.failures if denial else (),
            upstream_headers=_by_name(field_lines(fields.kept) + found.lines, fields),
        )

    def _fields(
        self, case: PolicyCase, certificate: ClientCertificate | None, issue: Issue, now: float
    ) -> list[Field]:
        """The header fields that the client sends."""
        fields = [(b"Host", (case.request.host or "api.example.com").encode())]
        for name, values in case.request.headers.items():
            all_values = [values] if isinstance(values, str) else values
            fields += [(name.encode(), value.encode()) for value in all_values]
        if case.request.form is not None and not any(name.lower() == b"content-type" for name, _ in fields):
            fields.append((b"Content-Type", b"application/x-www-form-urlencoded"))
        if case.request.grpc is not None:
            fields = with_call_fields(fields)
        own = [value for name, value in fields if name.lower() == b"authorization"]
        token = own[0].partition(b" ")[2].decode() if own else ""
        if case.proof is None and (case.token is None or own):
            return fields
        issuer = self._issuer(None if case.token is None else case.token.issuer)
        if case.token is not None and not own:
            bound_to = self._confirmation(case, issuer, certificate, issue)
            token = self.issuers.token(case.token, issuer, bound_to, now)
            scheme = case.token.scheme or ("Bearer" if case.proof is None else "DPoP")
            fields.append((b"Authorization", f"{scheme} {token}".encode()))
        if case.proof is not None:
            proof = self.clients.proof(case.proof, case.request, token, issuer, now)
            fields += [(b"DPoP", proof.encode())] * case.proof.times
        return fields

    def _confirmation(
        self, case: PolicyCase, issuer: IssuerPolicy, certificate: ClientCertificate | None, issue: Issue
    ) -> dict[str, str]:
        """The binding of the case's token: its certificate, or the key of the proof if there is one."""
        assert case.token is not None  # noqa: S101 — only for a token
        found = {}
        named, key = case.token.bound_to, case.token.bound_to_key
        default = certificate if case.proof is None else None
        bound_to = default if named is None else _named(named, issue)
        if bound_to is not None:
            found["x5t#S256"] = base64url_text(bound_to.thumbprint)
        if key is None and case.proof is not None:
            key = "client"
        if key not in {None, NOTHING}:
            found["jkt"] = self.clients.thumbprint(str(key), self.clients.algorithm(case.proof, issuer))
        return found

    def _issuer(self, name: str | None) -> IssuerPolicy:
        if name is None:
            if not self.policy.issuers:
                raise CaseMistake("the policy has no issuer that could issue a token")
            return next(iter(self.policy.issuers.values()))
        known = self.policy.issuers.get(name)
        # The token's issuer is not in the policy: it is made in order to test the refusal.
        return known or IssuerPolicy(name, frozenset({"https://api.example.com"}))

    def _presenter(self, case: PolicyCase, certificate: ClientCertificate | None) -> Presenter:
        listener, tls = self._listener(case.request.listener), case.tls
        try:
            protocol = chosen(case.request.protocol or "", listener, is_call=case.request.grpc is not None)
        except ValueError as problem:
            raise CaseMistake(str(problem)) from None
        return Presenter(
            certificate,
            listener.name,
            f"{_PEER}:50000",
            certificate_must_be_valid=listener.requires_valid_certificate,
            tls_version="" if tls is None else tls.version or "1.3",
            tls_group="" if tls is None else tls.group or "X25519",
            protocol=protocol,
        )

    def _listener(self, name: str | None) -> ListenerSettings:
        for listener in self.settings.listeners:
            if name in {None, listener.name}:
                return listener
        raise CaseMistake(f"there is no listener named {name}")

    def _refused(self, denial: Denial) -> Played:
        error = shape(denial.reason).error or CODES.get(denial.reason)
        answer = self.reception.answers.to(denial)
        return Played(
            status=answer.status,
            reason=denial.reason.value,
            rule=denial.rule,
            error=error.value if error else "none",
            failures=denial.failures,
            challenge=answer.challenge,
            answer=answer,
        )

    def _forwarded(self, permit: Permit, fields: RequestFields, presenter: Presenter) -> Played:
        denial = permit.would_deny
        return Played(
            status=200,
            rule=permit.rule.name,
            would_deny=denial.reason.value if denial else None,
            failures=denial.failures if denial else (),
            upstream_headers=self._upstream_headers(permit, fields, presenter),
            bounds=self.reception.bounds.under(permit.rule.limits or RuleLimits()),
        )

    def _upstream_headers(
        self, permit: Permit, fields: RequestFields, presenter: Presenter
    ) -> dict[str, list[str]]:
        """The fields that the API receives, made by the code of the data plane."""
        block = field_lines(fields.kept) + Forwarding(_PEER).block(fields).lines
        if self.settings.upstream.forward_token:
            block += b"".join(b"Authorization: %b\r\n" % value for value in fields.authorization)
        if permit.token is not None:
            own = permit.rule.identity_headers
            names = self.settings.upstream.identity_headers if own is None else own
            block += identity_block(permit.token.claims, names)
        header = self.settings.upstream.client_certificate_header
        if header is not None:
            told = header.writer().block(presenter)
            block += told.lines if told is not None else b""
        return _by_name(block, fields)


def _by_name(block: bytes, fields: RequestFields) -> dict[str, list[str]]:
    """The fields of a block, and Host: lower-case name → values."""
    found: dict[str, list[str]] = {"host": [value.decode("latin-1") for value in fields.hosts]}
    for line in block.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        found.setdefault(name.decode("latin-1").lower(), []).append(value.strip().decode("latin-1"))
    return found


def _named(name: str, issue: Issue) -> ClientCertificate | None:
    return None if name == NOTHING else issue(name)


def differences(expected: Mapping[str, Any], came: Played) -> list[tuple[str, str, str]]:
    """Expected values that differ: name, expected, actual."""
    found = []
    for name, wanted in expected.items():
        if name == "upstream_headers":
            found += _header_differences(wanted, came)
        elif name == "limits":
            found += _limit_differences(wanted.given(), came.bounds)
        elif name == "failures":
            checks = sorted(failure.check for failure in came.failures)
            if checks != sorted(wanted):
                found.append((name, ", ".join(sorted(wanted)) or "none", ", ".join(checks) or "none"))
        elif (real := getattr(came, name)) != wanted:
            found.append((name, str(wanted), "none" if real is None else str(real)))
    return found


def _limit_differences(wanted: Mapping[str, float], came: Bounds | None) -> list[tuple[str, str, str]]:
    found = []
    for name, value in wanted.items():
        real = None if came is None else getattr(came, name)
        if real != value:
            unit = "s" if name.endswith("_timeout") else ""
            shown = "not forwarded" if real is None else f"{real:.15g}{unit}"
            found.append((f"limit {name}", f"{value:.15g}{unit}", shown))
    return found


def _header_differences(wanted: Mapping[str, Any], came: Played) -> list[tuple[str, str, str]]:
    found = []
    for name, value in wanted.items():
        values = [value] if isinstance(value, str) else value
        seen = came.upstream_headers.get(name.lower(), ())
        if list(seen) != values:
            found.append((f"upstream header {name}", ", ".join(values) or "none", ", ".join(seen) or "none"))
    return found
