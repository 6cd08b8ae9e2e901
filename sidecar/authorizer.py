"""The one place where the core meets its ports: a request → `Permit` or `Denial`.

Theory of operation. `_decide` is the whole order of checks. Each check returns the evidence that it found or raises
`Denied`, which is caught here. It runs from start to end without waiting: the usual request costs no task
and no future. What only the issuer can tell (about a key that is not here yet, an opaque token) is raised as an
`_Inquiry`; then `_inquire` asks and runs the same checks again with the answer. Each question is asked once, so it
ends. The cache holds verified tokens, never verdicts: what time, rule or connection can change is checked on every
request. Any exception but `Denied` and `IssuerUnavailable` is a fault of ours and goes to the caller.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, cast

from sidecar.decision import jose
from sidecar.decision.cache import VerifiedTokens
from sidecar.decision.confirmation import BROKEN, SCHEMES, joined
from sidecar.decision.credentials import TokenReader
from sidecar.decision.denial import Denial
from sidecar.decision.explanation import Trace
from sidecar.decision.facts import Facts
from sidecar.decision.failure import Denied, Failure
from sidecar.decision.keys_in_force import KeyRegister
from sidecar.decision.nonce import Nonces
from sidecar.decision.permit import Permit
from sidecar.decision.policy import IntrospectWhen, Policy
from sidecar.decision.ports import IssuerUnavailable, KeySet, KeySource, TokenIntrospector
from sidecar.decision.presentation import Presentation
from sidecar.decision.proof import Claim
from sidecar.decision.reason import Reason
from sidecar.decision.replay import ReplayGuard, ReplayUnknown
from sidecar.decision.request import Presenter, RequestHead
from sidecar.decision.terms import IssuerTerms, PolicyTerms, RuleTerms
from sidecar.decision.token import AccessToken, Confirmation, ValidatedToken
from sidecar.decision.watched import WatchedPolicyTerms

Decision = Permit | Denial

_FOREVER: Final = float("inf")
_CURED_BY_NEW_KEYS: Final = frozenset({Reason.KEY_UNKNOWN, Reason.SIGNATURE_INVALID})


class _Inquiry(Exception):
    """Only the issuer can tell: about `token` or, without one, about its key `kid`."""

    def __init__(self, issuer: str, kid: str | None, token: AccessToken | None = None) -> None:
        super().__init__(issuer)
        self.issuer = issuer
        self.kid = kid
        self.token = token


class _Claiming(Exception):
    """A request may pass once another process has said that its proof was never used."""

    def __init__(self, permit: Permit, terms: RuleTerms, answer: Awaitable[bool]) -> None:
        super().__init__()
        self.permit = permit
        self.terms = terms
        self.answer = answer


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
        replay: ReplayGuard | None = None,
        *,
        digest_key: bytes,
        elapsing: Callable[[], float],
        in_force: KeyRegister | None = None,
        nonces: Nonces | None = None,
        token_bytes: int = 16384,
        cached_tokens: int = 100_000,
        cached_bytes: int = 32 << 20,
    ) -> None:
        """`digest_key` is random, this process's own, at most 64 bytes. `elapsing` is a monotonic clock, in seconds.
        `in_force` spares questions to `keys`: what it holds, `keys` would confirm. The rest are limits, sizes in bytes.
        """
        asks = any(issuer.introspect is not IntrospectWhen.NEVER for issuer in policy.issuers.values())
        if asks and introspector is None:
            raise ValueError("a policy that introspects needs an introspector")
        if replay is None and "dpop" in policy.schemes:
            raise ValueError("a policy that takes DPoP proofs needs a replay guard")
        self.policy = policy
        self.verified = VerifiedTokens(cached_tokens, cached_bytes)
        self._keys = keys
        self._in_force = in_force or KeyRegister()
        self._introspector = cast("TokenIntrospector", introspector)  # None only if nobody is ever asked
        self._replay = replay
        """None only if no proof is ever taken."""
        self._nonces = nonces
        self._elapsing = elapsing
        self.proofs_accepted = 0
        """The valid proofs that were claimed."""
        self._reader = TokenReader(digest_key, token_bytes, self.verified, policy.schemes)
        self._terms = PolicyTerms(policy, nonces)

    def authorize(
        self, head: RequestHead, presenter: Presenter, now: float, trace: Trace | None = None
    ) -> Decision | Awaitable[Decision]:
        """Decide about one request at time `now` (seconds since the epoch). Never raises `Denied`.

        `trace` is told of every check; then nothing is taken from the cache.
        """
        terms = self._terms if trace is None else WatchedPolicyTerms(self._terms, trace)
        try:
            return self._decide(head, presenter, now, terms, None)
        except _Inquiry as inquiry:
            return self._inquire(inquiry, head, presenter, now, terms)
        except _Claiming as claiming:
            return self._claimed(claiming)

    def _decide(
        self,
        head: RequestHead,
        presenter: Presenter,
        now: float,
        policy: PolicyTerms,
        answers: _Answers | None,
    ) -> Decision:
        terms: RuleTerms | None = None
        token: ValidatedToken | None = None
        try:
            terms, captures = policy.first(head, presenter.listener)
            if terms.is_public or (head.preflight and terms.rule.cors_preflight):
                return Permit(terms.rule, None, (), _FOREVER)
            credentials = self._reader.read(head, presenter)
            token = None if terms.explains else self._known(credentials, head, presenter)
            if token is None:
                token = self._established(credentials, terms, presenter, answers)
            issuer = terms.issuer(token.issuer)
            issuer.check_time(token, now)
            issuer.check_audience(token)
            expires_at, confirmation = token.expires_at, token.confirmation
            if issuer.introspects_all:
                vouched = self._introspected(credentials, issuer, answers)
                token, expires_at, confirmation = _agreed(issuer, token, vouched, now)
        except Denied as denied:
            return self._refused(denied.failure, policy, terms, token, head=head, now=now)
        except IssuerUnavailable as outage:
            return self._out_of_reach(outage, policy, terms, token, head=head, now=now)
        unbound: Failure | None = None  # of a good token, as `failures`: may be reported instead of enforced
        try:
            presentation = Presentation(head, presenter, credentials, now, issuer.proofs)
            confirmed = issuer.check_binding(confirmation, presentation)
        except Denied as mismatch:
            unbound, confirmed = mismatch.failure, ()
            if unbound.reason in BROKEN:
                return self._refused(unbound, policy, terms, token, head=head, now=now)
        unmet = terms.failures(Facts(head, token, presenter, captures, now, reveals=terms.explains))
        failures = unmet if unbound is None else [unbound, *unmet]
        until = issuer.valid_until(expires_at, presenter, confirmed)
        denial = terms.denial(failures, token, credentials.scheme) if failures else None
        if denial is not None and now >= issuer.reports_until:
            return denial
        permit = Permit(terms.rule, token, confirmed, until, denial)
        for one in confirmed:
            if one.claim is not None and not terms.explains:
                return self._unless_used(permit, terms, one.claim)
        return permit

    def _unless_used(self, permit: Permit, terms: RuleTerms, claim: Claim) -> Decision:
        """The permit, once its proof is claimed (RFC 9449 §11.1): the last check, and the only one that leaves a trace.

        Whoever explains a decision must not come here.
        """
        permit.nonce = claim.renewal
        guard = self._replay
        assert guard is not None  # noqa: S101 — a policy that takes proofs was refused without one
        try:
            answer = guard.claim(claim)
        except ReplayUnknown as unknown:
            return _unknown(permit, terms, unknown)
        if not isinstance(answer, bool):
            raise _Claiming(permit, terms, answer)
        if not answer:
            return _replayed(permit, terms)
        self.proofs_accepted += 1
        return permit

    async def _claimed(self, claiming: _Claiming) -> Decision:
        try:
            is_first = await claiming.answer
        except ReplayUnknown as unknown:
            return _unknown(claiming.permit, claiming.terms, unknown)
        if not is_first:
            return _replayed(claiming.permit, claiming.terms)
        self.proofs_accepted += 1
        return claiming.permit

    def _known(
        self, credentials: AccessToken, head: RequestHead, presenter: Presenter
    ) -> ValidatedToken | None:
        """The token as it was verified before, while the key that verified it is in force."""
        token = self.verified.find(credentials.digest)
        if token is None:
            return None
        issuer, key = token.issuer, token.key_id
        if self._in_force.holds(issuer, key) or self._keys.keys(issuer).is_current(key):
            last = presenter.last_presented
            if last is None or last.token is not credentials:
                self._reader.remember(head, presenter, credentials)
            return token
        self.verified.drop(credentials.digest)
        return None

    def _established(
        self, credentials: AccessToken, terms: RuleTerms, presenter: Presenter, answers: _Answers | None
    ) -> ValidatedToken:
        """What the issuer vouches for: by its signature or, for an opaque token, by its word (RFC 7662)."""
        if terms.is_opaque(credentials):
            return self._recognised(credentials, terms, answers)
        jws = terms.parse(credentials)
        issuer = terms.accepted(jws.claimed_issuer)
        token = issuer.validate(self._verified(jws, issuer, presenter, answers), credentials.digest)
        self.verified.keep(token)
        return token

    def _verified(
        self, jws: jose.UnverifiedJws, issuer: IssuerTerms, presenter: Presenter, answers: _Answers | None
    ) -> jose.VerifiedClaims:
        answer = answers.keys.get(issuer.name) if answers else None
        if isinstance(answer, Exception):
            raise answer
        try:
            keys = self._keys.keys(issuer.name) if answer is None else answer
            return issuer.verify(jws, keys)
        except Denied as denied:
            # A key may have come (unknown `kid`) or changed under its old `kid` (signature) since the last fetch.
            curable = denied.reason in _CURED_BY_NEW_KEYS and answer is None
            if curable and self._keys.may_refresh(issuer.name, jws.kid, presenter.source):
                raise _Inquiry(issuer.name, jws.kid) from None
            raise

    def _recognised(
        self, credentials: AccessToken, terms: RuleTerms, answers: _Answers | None
    ) -> ValidatedToken:
        """An opaque token, by the first of the rule's issuers that calls it active.

        One that is out of reach hides no other; but when none calls it active, it might have.
        """
        refusal = Denied(Reason.TOKEN_UNRECOGNISED, "token", "a signed JWT", "an opaque token")
        outage: IssuerUnavailable | None = None
        for issuer in terms.issuers.values():
            if issuer.introspects:
                try:
                    issuer.check_opaque_size(len(credentials))
                    return self._introspected(credentials, issuer, answers)
                except Denied as denied:
                    refusal = denied
                except IssuerUnavailable as unavailable:
                    outage = unavailable
        raise outage or refusal

    def _introspected(
        self, credentials: AccessToken, issuer: IssuerTerms, answers: _Answers | None
    ) -> ValidatedToken:
        answer = answers.tokens.get(issuer.name) if answers else None
        if answer is None:
            answer = self._introspector.cached(credentials, issuer.name)
        if answer is None:
            raise _Inquiry(issuer.name, None, credentials)
        if isinstance(answer, Exception):
            raise answer
        return issuer.active(None if isinstance(answer, bool) else answer)

    async def _inquire(
        self, inquiry: _Inquiry, head: RequestHead, presenter: Presenter, now: float, terms: PolicyTerms
    ) -> Decision:
        answers, began = _Answers(), self._elapsing()
        while True:
            await self._ask(inquiry, answers, presenter.source)
            # What ended meanwhile does not pass. A proof that did might pass twice: a store in another process keeps
            # proofs no longer than they are good.
            later = now + self._elapsing() - began
            try:
                return self._decide(head, presenter, later, terms, answers)
            except _Inquiry as another:
                inquiry = another
            except _Claiming as claiming:
                return await self._claimed(claiming)

    async def _ask(self, inquiry: _Inquiry, answers: _Answers, source: str) -> None:
        issuer = inquiry.issuer
        if inquiry.token is None:
            try:
                answers.keys[issuer] = await self._keys.refreshed(issuer, inquiry.kid, source)
            except IssuerUnavailable as outage:
                answers.keys[issuer] = outage
            return
        try:
            answers.tokens[issuer] = await self._introspector.introspect(inquiry.token, issuer, source)
        except (Denied, IssuerUnavailable) as problem:
            answers.tokens[issuer] = problem

    def _out_of_reach(
        self,
        outage: IssuerUnavailable,
        policy: PolicyTerms,
        terms: RuleTerms | None,
        token: ValidatedToken | None,
        *,
        head: RequestHead,
        now: float,
    ) -> Denial:
        failure = Failure("issuer", Reason.ISSUER_UNAVAILABLE, "an answer of the issuer", outage.phase)
        return self._refused(
            failure, policy, terms, token, head=head, now=now, retry_after=outage.retry_after
        )

    def _refused(
        self,
        failure: Failure,
        policy: PolicyTerms,
        terms: RuleTerms | None,
        token: ValidatedToken | None,
        *,
        head: RequestHead,
        now: float,
        retry_after: int | None = None,
    ) -> Denial:
        policy.refused(failure)
        denial = Denial(
            failure.reason, (failure,), terms.rule.name if terms else None, token, retry_after=retry_after
        )
        if terms is not None:
            used = head.authorization[0].partition(" ")[0].lower() if len(head.authorization) == 1 else ""
            denial.schemes = terms.challenges(SCHEMES.get(used, ""), failure.reason)
        if failure.reason is Reason.PROOF_NONCE_REQUIRED and self._nonces is not None:
            denial.nonce = self._nonces.fresh(now)
        return denial


def _agreed(
    issuer: IssuerTerms, token: ValidatedToken, vouched: ValidatedToken, now: float
) -> tuple[ValidatedToken, float, Confirmation]:
    """What token and introspection answer say together: token, end, confirmation. Raises `Denied` where they differ."""
    issuer.check_time(vouched, now)
    until, own = min(token.expires_at, vouched.expires_at), token.confirmation
    token = issuer.agreed(token, vouched)
    confirmation = joined(own, vouched.confirmation)
    if confirmation.members and not token.confirmation.members:
        # Only the answer says what it is bound to (RFC 8705 §3.2): the record names that, too.
        token = replace(token, confirmation=confirmation, renderings={}, lines={})
    return token, until, confirmation


def _replayed(permit: Permit, terms: RuleTerms) -> Denial:
    failure = Failure("dpop.jti", Reason.PROOF_REPLAYED, "a proof that was never used", "one that was")
    return _after_all(permit, terms, failure)


def _unknown(permit: Permit, terms: RuleTerms, unknown: ReplayUnknown) -> Denial:
    failure = Failure("dpop.jti", Reason.REPLAY_UNKNOWN, "whether the proof was used before", unknown.why)
    return _after_all(permit, terms, failure)


def _after_all(permit: Permit, terms: RuleTerms, failure: Failure) -> Denial:
    schemes = terms.challenges("DPoP", failure.reason)
    return Denial(failure.reason, (failure,), terms.rule.name, permit.token, schemes=schemes)
