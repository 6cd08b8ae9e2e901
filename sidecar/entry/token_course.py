"""A request to an authorization server's endpoint: who sends it, what the server hears of it, what it answers.

Theory of operation. The form is read strictly and its client authenticated (`registered_client`); nothing goes on
without. What goes on are the bytes that came, with the certificate in a header field, or with the credentials that the
server knows, or both. Of an answer of the token endpoint the audit says whether the token is bound to the certificate.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol
from urllib.parse import quote_plus

from sidecar.decision.certificate import Certificate
from sidecar.decision.client_permit import Client, ClientPermit, admitted, tolerated
from sidecar.decision.denial import Denial
from sidecar.decision.failure import Denied, Failure
from sidecar.decision.permit import Permit
from sidecar.decision.policy import Rule
from sidecar.decision.reason import Reason
from sidecar.decision.registered_client.registry import AuthenticatedClient, ClientRegistry
from sidecar.decision.request import Presenter, RequestHead
from sidecar.decision.strict import Malformed
from sidecar.decision.token_error import BASIC
from sidecar.entry.hand_over import HandOver
from sidecar.entry.issued_token import (
    BindingVerdict,
    Finding,
    IssuedTokens,
    claims_of,
    content,
    issued,
    judged,
)
from sidecar.entry.translation import translated
from sidecar.http.fields import RequestFields
from sidecar.http.message import Request, Response
from sidecar.http.token_form import MOST_BYTES, read_form
from sidecar.issuer.client_authentication import ClientAuthenticator
from sidecar.proxy.exchange.endpoints import AnswerRefused, Course, Decision, Judgement, Outgoing
from sidecar.telemetry.record import ClientNotes

_JSON: Final = b"application/json"
_AS_LONG_AS_TYPE: Final = len(b"content-type")
_AS_LONG_AS_ENCODING: Final = len(b"content-encoding")
_NOBODY_ASKED: Final = Finding(
    BindingVerdict.UNKNOWN, "the token is opaque, and nobody could be asked about it"
)
_CODINGS: Final = frozenset({b"accept-encoding"})
_NONE: Final[frozenset[bytes]] = frozenset()
_IDENTITY: Final = b"Accept-Encoding: identity\r\n"


class AsksAboutTokens(Protocol):
    """Where opaque tokens are asked about (RFC 7662)."""

    async def members(self, token: str, source: str) -> Mapping[str, object] | None:
        """The members of the answer about a token that was issued to `source`; None: nobody could be asked. Raises
        `Malformed` for an answer that describes no token.
        """


Alarm = Callable[[str], None]
"""Gets the client for which the server refused the sidecar's credentials."""


class EndpointTerms:
    """The settings that all requests to one endpoint share. Treat as immutable."""

    __slots__ = (
        "hand_over", "introspection", "issues_tokens", "on_refused_credentials", "refuses_unbound", "registry",
        "reports_until", "revocation", "rule", "translations", "upstream",
    )  # fmt: skip

    def __init__(
        self,
        rule: Rule,
        *,
        upstream: bytes,
        registry: ClientRegistry,
        hand_over: HandOver,
        translations: dict[str, ClientAuthenticator],
        reports_until: float,
        issues_tokens: bool,
        refuses_unbound: bool,
        introspection: AsksAboutTokens | None,
        revocation: bytes | None,
        on_refused_credentials: Alarm,
    ) -> None:
        self.rule = rule
        self.upstream = upstream
        """Its path at the server."""
        self.registry = registry
        self.hand_over = hand_over
        self.translations = translations
        """By client."""
        self.reports_until = reports_until
        """Seconds since the epoch: until then what would be refused passes, and is recorded."""
        self.issues_tokens = issues_tokens
        self.refuses_unbound = refuses_unbound
        self.introspection = introspection
        self.revocation = revocation
        """Path of the revocation endpoint at the server (RFC 7009)."""
        self.on_refused_credentials = on_refused_credentials


class TokenCourse(Course):
    """One such request."""

    def __init__(self, terms: EndpointTerms) -> None:
        super().__init__(MOST_BYTES)
        self._terms = terms
        self._lines = b""
        self._client_id = ""
        self._source = ""
        self._audited: Certificate | None = None
        """The certificate to which an issued token should be bound."""
        self._translation: ClientAuthenticator | None = None
        self._notes: ClientNotes | None = None

    # --- the request

    def decide(
        self,
        head: RequestHead,
        request: Request,
        fields: RequestFields,
        body: bytes,
        *,
        presenter: Presenter,
        now: float,
    ) -> Decision:
        terms = self._terms
        try:
            form = read_form(head, request.fields, body)
            self._note(form.client_id)
            client = terms.registry.authenticate(form, presenter, now)
            self._authenticated(client, presenter)
        except Denied as denied:
            denial = Denial(denied.reason, (denied.failure,), terms.rule.name)
            if head.authorization:
                denial.schemes = BASIC
            return denial if now >= terms.reports_until else tolerated(terms.rule, denial)
        return admitted(terms.rule, client)

    def _note(self, client_id: str) -> None:
        registered = self._terms.registry.client(client_id)
        if registered is not None:
            self._notes = ClientNotes(client_id, registered.method_name, "")

    def _authenticated(self, client: Client, presenter: Presenter) -> None:
        """The additions to the request for the server; raises `Denied`."""
        terms, certificate = self._terms, client.certificate
        self._client_id, self._source = client.client_id, presenter.source
        is_verified = False
        if isinstance(client, AuthenticatedClient):
            is_verified = True
            if self._notes is not None:
                self._notes.matched = client.matched
            self._translation = terms.translations.get(self._client_id) if terms.translations else None
        if certificate is None:
            self._lines = terms.hand_over.without()
            return
        lines = terms.hand_over.lines(certificate, presenter.chain, is_verified=is_verified)
        if lines is None:
            expected = "a certificate that fits into a header field"
            raise Denied(
                Reason.CLIENT_CERTIFICATE_UNFIT, "hand_over", expected, f"{len(certificate.der)} bytes"
            )
        self._lines, self._audited = lines, certificate

    def outgoing(
        self, permit: Permit, head: RequestHead, fields: RequestFields, body: bytes, presenter: Presenter
    ) -> Outgoing | Awaitable[Outgoing]:
        if not isinstance(permit, ClientPermit):
            raise TypeError("a request to an endpoint goes on with a client's permit alone")
        lines = self._lines if permit.client is not None else self._terms.hand_over.without()
        for value in fields.proofs:  # RFC 9449 §5: a proof for these endpoints is the server's to check
            lines += b"DPoP: %b\r\n" % value
        dropped = _NONE
        if self._terms.issues_tokens and permit.client is not None:
            lines, dropped = lines + _IDENTITY, _CODINGS
        target = self._terms.upstream + (b"?" + head.query.encode("latin-1") if head.query else b"")
        if self._translation is not None and permit.client is not None:
            return self._translated(
                self._translation, Outgoing(target, body=body, lines=lines, dropped=dropped)
            )
        return Outgoing(target, body=body, lines=lines, dropped=dropped, authorization=True)

    async def _translated(self, translation: ClientAuthenticator, plain: Outgoing) -> Outgoing:
        body, lines = translated(plain.body, await translation.credentials())
        return Outgoing(plain.target, body=body, lines=plain.lines + lines, dropped=plain.dropped)

    # --- the answer

    def refusal(self, response: Response) -> Denial | None:
        if self._translation is None or response.status != 401:
            return None
        # The client is authenticated: what the server refuses are credentials of ours, and its challenge is for us.
        self._terms.on_refused_credentials(self._client_id)
        failure = Failure(
            "translate", Reason.SERVER_CREDENTIALS_REFUSED, "the server accepts our credentials", "401"
        )
        return Denial(Reason.SERVER_CREDENTIALS_REFUSED, (failure,), self._terms.rule.name)

    def reads_answer(self, response: Response) -> bool:
        return self._terms.issues_tokens and self._audited is not None and response.status == 200

    def judged(
        self, response: Response, body: bytes | None, presenter: Presenter
    ) -> Judgement | Awaitable[Judgement]:
        certificate = self._audited
        if certificate is None:
            return None
        tokens: IssuedTokens | None = None
        try:
            tokens = issued(_text(response, body))
            claims = claims_of(tokens.access_token)
        except Malformed as problem:
            finding = Finding(BindingVerdict.UNREADABLE, f"the answer is {problem}")
            return self._concluded(finding, tokens)
        if claims is None:
            return self._asked(tokens, certificate)
        return self._concluded(judged(claims, certificate), tokens)

    async def _asked(self, tokens: IssuedTokens, certificate: Certificate) -> Judgement:
        introspection = self._terms.introspection
        try:
            members = (
                None
                if introspection is None
                else await introspection.members(tokens.access_token, self._source)
            )
        except Malformed as problem:
            finding = Finding(BindingVerdict.UNREADABLE, f"the introspection response is {problem}")
        else:
            finding = _NOBODY_ASKED if members is None else judged(members, certificate)
        concluded = self._concluded(finding, tokens)
        return await concluded if isinstance(concluded, Awaitable) else concluded

    def _concluded(
        self, finding: Finding, tokens: IssuedTokens | None
    ) -> AnswerRefused | Awaitable[AnswerRefused] | None:
        if self._notes is not None:
            self._notes.issued = finding.name
            self._notes.issued_detail = finding.detail
        if finding.is_good or not self._terms.refuses_unbound:
            return None
        expected = "an access token that is bound to the client certificate"
        failure = Failure(
            "cnf.x5t#S256",
            Reason.ISSUED_TOKEN_UNBOUND,
            expected,
            f"{finding.verdict.value}: {finding.detail}",
        )
        denial = Denial(Reason.ISSUED_TOKEN_UNBOUND, (failure,), self._terms.rule.name)
        if tokens is None or self._terms.revocation is None:
            return AnswerRefused(denial)
        return self._revoking(denial, tokens)

    async def _revoking(self, denial: Denial, tokens: IssuedTokens) -> AnswerRefused:
        """RFC 7009 §2.1, as the client to whom they were issued: the refresh token too, if there is one."""
        forms = [("access_token", tokens.access_token)]
        if tokens.refresh_token is not None:
            forms.insert(0, ("refresh_token", tokens.refresh_token))
        return AnswerRefused(denial, tuple([await self._revocation(hint, token) for hint, token in forms]))

    async def _revocation(self, hint: str, token: str) -> Outgoing:
        assert self._terms.revocation is not None  # noqa: S101 — asked by `_concluded`
        form = f"token={quote_plus(token)}&token_type_hint={hint}&client_id={quote_plus(self._client_id)}"
        plain = Outgoing(self._terms.revocation, body=form.encode("ascii"), lines=self._lines)
        return plain if self._translation is None else await self._translated(self._translation, plain)

    def notes(self) -> ClientNotes | None:
        return self._notes


def _text(response: Response, body: bytes | None) -> bytes:
    """The content of an answer (RFC 6749 §5.1); raises `Malformed`."""
    if body is None:
        raise Malformed("too long")
    kind, coding = b"", b""
    for name, value in response.fields:
        if len(name) == _AS_LONG_AS_TYPE and name.lower() == b"content-type":
            kind = value
        elif len(name) == _AS_LONG_AS_ENCODING and name.lower() == b"content-encoding":
            coding = value
    if kind != _JSON and kind.partition(b";")[0].strip().lower() != _JSON:
        raise Malformed("no application/json")
    return content(body, coding.decode("latin-1"))
