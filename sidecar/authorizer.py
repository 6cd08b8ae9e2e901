"""The one place where the core meets its ports: a request → `Permit` or `Denial`.

Theory of operation. `_decide` is the whole order of checks. Each check returns the evidence that it found or raises
`Denied`, and only this file catches it. It runs from start to end without waiting: the usual request costs no task
and no future. What only the issuer can tell (about a key that is not here yet, an opaque token) is raised as an
`_Inquiry`; then `_inquire` asks and runs the same checks again with the answer. Each question is asked once, so it
ends. The cache holds verified tokens, never verdicts: what time, rule or connection can change is checked on every
request. Any exception but `Denied` and `IssuerUnavailable` is a fault of ours and goes to the caller.
"""

from collections.abc import Awaitable

from sidecar.decision import jose, profile
from sidecar.decision.cache import VerifiedTokens
from sidecar.decision.confirmation import confirm
from sidecar.decision.credentials import access_token
from sidecar.decision.denial import Denial, Denied, Failure, Reason
from sidecar.decision.permit import Permit
from sidecar.decision.policy import IntrospectWhen, Policy
from sidecar.decision.ports import IssuerUnavailable, KeySet, KeySource, TokenIntrospector
from sidecar.decision.request import Presenter, RequestHead
from sidecar.decision.terms import IssuerTerms, RuleTerms
from sidecar.decision.token import AccessToken, ValidatedToken

Decision = Permit | Denial

_FOREVER = float("inf")
_CURED_BY_NEW_KEYS = frozenset({Reason.KEY_UNKNOWN, Reason.SIGNATURE_INVALID})


class _Inquiry(Exception):
    """Only the issuer can tell: about `token` or, without one, about its key `kid`."""

    def __init__(self, issuer: str, kid: str | None, token: AccessToken | None = None) -> None:
        super().__init__(issuer)
        self.issuer = issuer
        self.kid = kid
        self.token = token


class _Answers:
    """What issuers said to the questions about one request, or how they failed to."""

    def __init__(self) -> None:
        self.keys: dict[str, KeySet | Exception] = {}
        self.tokens: dict[str, ValidatedToken | bool | Exception] = {}


class Authorizer:
    """Decides under one policy. A new policy takes a new authorizer: no fact outlives what it was judged by."""

    def __init__(
        self,
        policy: Policy,
        keys: KeySource,
        introspector: TokenIntrospector | None = None,
        *,
        digest_key: bytes,
        token_bytes: int = 16384,
        cached_tokens: int = 100_000,
        cached_bytes: int = 512 << 20,
    ) -> None:
        """`digest_key` is random, this process's own, at most 64 bytes. The rest are limits, sizes in bytes."""
        asks = any(issuer.introspect is not IntrospectWhen.NEVER for issuer in policy.issuers.values())
        if asks and introspector is None:
            raise ValueError("a policy that introspects needs an introspector")
        self.policy = policy
        self.verified = VerifiedTokens(cached_tokens, cached_bytes)
        self._keys = keys
        self._introspector = introspector
        self._digest_key = digest_key
        self._token_bytes = token_bytes
        self._rules = [RuleTerms(rule, policy) for rule in policy.rules]

    def authorize(
        self, head: RequestHead, presenter: Presenter, now: float
    ) -> Decision | Awaitable[Decision]:
        """Decide about one request at time `now` (seconds since the epoch). Never raises `Denied`."""
        try:
            return self._decide(head, presenter, now, None)
        except _Inquiry as inquiry:
            return self._inquire(inquiry, head, presenter, now)

    def _decide(
        self, head: RequestHead, presenter: Presenter, now: float, answers: _Answers | None
    ) -> Decision:
        terms: RuleTerms | None = None
        token: ValidatedToken | None = None
        try:
            found = self.policy.matcher.first(head, presenter.listener)
            if found is None:
                raise Denied(Reason.RULE_UNMATCHED, "rule", "a rule that fits", "none")
            terms = self._rules[found[0]]
            if terms.rule.public or (head.preflight and terms.rule.cors_preflight):
                return Permit(terms.rule, None, (), _FOREVER)
            credentials = access_token(head, self._digest_key, self._token_bytes)
            token = self._known(credentials) or self._established(credentials, terms, answers)
            issuer = terms.issuer(token.issuer)
            issuer.check_time(token, now)
            issuer.check_audience(token)
            vouched = token
            if issuer.introspects_all:
                vouched = self._introspected(credentials, issuer.name, answers)
                issuer.check_time(vouched, now)
        except Denied as denied:
            return self._refused(denied, terms, token)
        except IssuerUnavailable as outage:
            return _unavailable(outage, terms, token)
        failures: list[Failure] = []
        confirmed: tuple[str, ...] = ()
        try:
            confirmed = issuer.check_binding(token, presenter, now)
            if vouched is not token:
                confirm(vouched.confirmation, presenter)
        except Denied as denied:
            failures.append(denied.failure)
        failures += terms.failures(head, token, presenter, found[1], now)
        until = issuer.valid_until(token, presenter)
        if not failures:
            return Permit(terms.rule, token, confirmed, until)
        denial = terms.denial(failures, token)
        if now < issuer.reports_until:
            return Permit(terms.rule, token, confirmed, until, denial)
        return denial

    def _known(self, credentials: AccessToken) -> ValidatedToken | None:
        """The token as it was verified before, while the key that verified it is in force."""
        token = self.verified.find(credentials.digest)
        if token is None or self._keys.keys(token.issuer).is_current(token.key_id):
            return token
        self.verified.drop(credentials.digest)
        return None

    def _established(
        self, credentials: AccessToken, terms: RuleTerms, answers: _Answers | None
    ) -> ValidatedToken:
        """What the issuer vouches for: by its signature or, for an opaque token, by its word (RFC 7662)."""
        if jose.is_opaque(credentials):
            return self._recognised(credentials, terms, answers)
        jws = jose.parse(credentials)
        # The token's own `iss` does no more than choose among the issuers configured for this rule.
        issuer = terms.issuer(jws.claimed_issuer)
        token = profile.validate(self._verified(jws, issuer, answers), issuer.policy, credentials.digest)
        self.verified.keep(token, len(credentials))
        return token

    def _verified(
        self, jws: jose.UnverifiedJws, issuer: IssuerTerms, answers: _Answers | None
    ) -> jose.VerifiedClaims:
        answer = answers and answers.keys.get(issuer.name)
        if isinstance(answer, Exception):
            raise answer
        try:
            return jose.verify(jws, issuer.algorithms, answer or self._keys.keys(issuer.name))
        except Denied as denied:
            # A key may have come (unknown `kid`) or changed under its old `kid` (signature) since the last fetch.
            curable = denied.reason in _CURED_BY_NEW_KEYS and answer is None
            if curable and self._keys.may_refresh(issuer.name, jws.kid):
                raise _Inquiry(issuer.name, jws.kid) from None
            raise

    def _recognised(
        self, credentials: AccessToken, terms: RuleTerms, answers: _Answers | None
    ) -> ValidatedToken:
        """An opaque token, by the first of the rule's issuers that calls it active."""
        refusal = Denied(Reason.TOKEN_UNRECOGNISED, "token", "a signed JWT", "an opaque token")
        for issuer in terms.issuers.values():
            if issuer.introspects:
                try:
                    return self._introspected(credentials, issuer.name, answers)
                except Denied as denied:
                    refusal = denied
        raise refusal

    def _introspected(
        self, credentials: AccessToken, issuer: str, answers: _Answers | None
    ) -> ValidatedToken:
        assert self._introspector is not None  # noqa: S101 — the constructor saw to it
        answer = answers.tokens.get(issuer) if answers else None
        if answer is None:
            answer = self._introspector.cached(credentials, issuer)
        if answer is None:
            raise _Inquiry(issuer, None, credentials)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bool):
            # RFC 7662 §2.2 says no more than that: revoked, expired, unknown and not yours look the same.
            raise Denied(Reason.TOKEN_INACTIVE, "active", "true", "false")
        return answer

    async def _inquire(
        self, inquiry: _Inquiry, head: RequestHead, presenter: Presenter, now: float
    ) -> Decision:
        answers = _Answers()
        while True:
            await self._ask(inquiry, answers)
            try:
                return self._decide(head, presenter, now, answers)
            except _Inquiry as another:
                inquiry = another

    async def _ask(self, inquiry: _Inquiry, answers: _Answers) -> None:
        issuer = inquiry.issuer
        try:
            if inquiry.token is None:
                answers.keys[issuer] = await self._keys.refreshed(issuer, inquiry.kid)
            else:
                assert self._introspector is not None  # noqa: S101 — the constructor saw to it
                answers.tokens[issuer] = await self._introspector.introspect(inquiry.token, issuer)
        except (Denied, IssuerUnavailable) as problem:
            (answers.keys if inquiry.token is None else answers.tokens)[issuer] = problem

    def _refused(self, denied: Denied, terms: RuleTerms | None, token: ValidatedToken | None) -> Denial:
        if token is not None and denied.reason is Reason.TOKEN_EXPIRED:
            self.verified.drop(token.digest)
        return Denial(denied.reason, (denied.failure,), terms.rule.name if terms else None, token)


def _unavailable(outage: IssuerUnavailable, terms: RuleTerms | None, token: ValidatedToken | None) -> Denial:
    failure = Failure("issuer", Reason.ISSUER_UNAVAILABLE, "an answer of the issuer", outage.phase)
    rule = terms.rule.name if terms else None
    return Denial(failure.reason, (failure,), rule, token, retry_after=outage.retry_after)
