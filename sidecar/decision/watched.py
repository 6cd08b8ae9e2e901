"""The terms of a policy while a decision is explained: each check is that of `terms`, and a trace is told of it.

Why subclasses, and not a trace that does nothing: the arguments of a trace have to be formatted first, and formatting
costs more than the checks. So an unexplained decision has no trace at all, and no step asks whether there is one.
"""

from collections.abc import Mapping

from sidecar.decision.confirmation import BROKEN, METHODS, Confirmed
from sidecar.decision.confirmation.method import ConfirmationMethod
from sidecar.decision.explanation import Trace
from sidecar.decision.facts import Facts
from sidecar.decision.failure import Denied, Failure
from sidecar.decision.jose import UnverifiedJws, VerifiedClaims
from sidecar.decision.nonce import Nonces
from sidecar.decision.policy import IssuerPolicy, Policy, Rule
from sidecar.decision.ports import KeySet
from sidecar.decision.presentation import Presentation
from sidecar.decision.request import RequestHead
from sidecar.decision.terms import IssuerTerms, PolicyTerms, RuleTerms
from sidecar.decision.token import AccessToken, Confirmation, TokenDigest, ValidatedToken


class WatchedIssuerTerms(IssuerTerms):
    """What one rule asks of the tokens of one issuer."""

    def __init__(
        self, issuer: IssuerPolicy, rule: Rule, policy: Policy, nonces: Nonces | None, trace: Trace
    ) -> None:
        super().__init__(issuer, rule, policy, nonces)
        self._trace = trace

    def verify(self, jws: UnverifiedJws, keys: KeySet) -> VerifiedClaims:
        """Tells which key the signature is good for."""
        verified = super().verify(jws, keys)
        self._trace.passed("signature", " ".join(sorted(self.algorithms)), f"good, key {verified.key.kid}")
        return verified

    def validate(self, verified: VerifiedClaims, digest: TokenDigest) -> ValidatedToken:
        """Tells the type of the token."""
        token = super().validate(verified, digest)
        self._trace.passed("typ", " ".join(sorted(self.policy.token_types)), verified.type)
        return token

    def active(self, answer: ValidatedToken | None) -> ValidatedToken:
        """Tells who vouches for the token."""
        token = super().active(answer)
        self._trace.passed("active", "true", f"true, says {self.name}")
        return token

    def check_time(self, token: ValidatedToken, now: float) -> None:
        """Tells when the token expires."""
        super().check_time(token, now)
        self._trace.passed("exp", f"after {now:.0f}, ± {self.skew} s", f"{token.expires_at:.0f}")

    def check_audience(self, token: ValidatedToken) -> None:
        """Tells for whom the token is."""
        super().check_audience(token)
        self._trace.passed("aud", " ".join(sorted(self.audience)), self._shown(token))

    def _shown(self, token: ValidatedToken) -> str:
        return " ".join(token.audience)

    def check_binding(self, confirmation: Confirmation, presentation: Presentation) -> tuple[Confirmed, ...]:
        """Tells what confirmed the token, or what did not."""
        if self._trace.as_sent is not None:
            token = AccessToken(self._trace.as_sent, b"", presentation.token.scheme)
            presentation = Presentation(
                presentation.head, presentation.presenter, token, presentation.now, presentation.proofs
            )
        try:
            confirmed = super().check_binding(confirmation, presentation)
        except Denied as denied:
            for method in METHODS.values():
                self._tell(method, denied.failure.check)
            if denied.reason not in BROKEN:  # one that ends the decision is told by whoever ends it
                self._trace.failed(denied.failure)
            raise
        for one in confirmed:
            self._tell(METHODS[one.member])
        members = [one.member for one in confirmed]
        mode = "required" if self.requires_binding else "not required"
        check = f"cnf.{members[0]}" if members else "cnf"
        self._trace.passed(check, mode, " ".join(members) or "no cnf")
        return confirmed

    def _tell(self, method: ConfirmationMethod, end: str | None = None) -> None:
        """The checks of a method that has several: all, or those before the one that failed."""
        names = [name for name, _, _ in method.checks]
        count = len(names) if end is None else names.index(end) if end in names else 0
        for name, _, asked in method.checks[:count]:
            self._trace.passed(name, asked, "as asked")


class WatchedRuleTerms(RuleTerms):
    """What one rule asks of a request."""

    def __init__(self, rule: Rule, policy: Policy, nonces: Nonces | None, trace: Trace) -> None:
        super().__init__(rule, policy, nonces)
        self.explains = True
        self._trace = trace
        self.issuers = {
            name: WatchedIssuerTerms(terms.policy, rule, policy, nonces, trace)
            for name, terms in self.issuers.items()
        }
        self.conditions = tuple(trace.watching(one) for one in rule.conditions)

    def is_opaque(self, token: AccessToken) -> bool:
        """Tells that there is one token."""
        self._trace.passed("credentials", f"Authorization: {token.scheme}", f"a token of {len(token)} bytes")
        return super().is_opaque(token)

    def parse(self, token: AccessToken) -> UnverifiedJws:
        """Tells what the token says of itself."""
        jws = super().parse(token)
        said = f"alg {jws.algorithm}, kid {jws.kid}, typ {jws.type}, iss {jws.claimed_issuer}"
        self._trace.passed("token", "a signed JWT", ascii(said)[1:-1])
        return jws

    def accepted(self, claimed: str) -> IssuerTerms:
        """Tells whose token it says it is."""
        issuer = super().accepted(claimed)
        self._trace.passed("iss", " or ".join(self.issuers), issuer.name)
        return issuer

    def scope_failures(self, facts: Facts) -> list[Failure]:
        """Tells the scopes that were granted, or were not."""
        failures = super().scope_failures(facts)
        for failure in failures:
            self._trace.failed(failure)
        if not failures:
            asked = " ".join(self.rule.scopes + self.rule.any_scope)
            self._trace.passed("scope", asked, " ".join(sorted(facts.token.scope)))
        return failures


class WatchedPolicyTerms(PolicyTerms):
    """What the whole policy asks."""

    def __init__(self, terms: PolicyTerms, trace: Trace) -> None:
        self.policy, self.matcher = terms.policy, terms.matcher
        self.nonces = terms.nonces
        self.rules = terms.rules
        self._trace = trace

    def first(self, head: RequestHead, listener: str) -> tuple[RuleTerms, Mapping[str, str]]:
        """Tells which rule decides. The issuer may have been asked and the checks run again: that begins anew."""
        self._trace.restart()
        terms, captures = super().first(head, listener)
        self._trace.passed("rule", "a rule that fits", terms.rule.name)
        return WatchedRuleTerms(terms.rule, self.policy, self.nonces, self._trace), captures

    def refused(self, failure: Failure) -> None:
        """Tells what ended the decision."""
        self._trace.failed(failure)
