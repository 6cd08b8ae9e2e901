"""A policy's terms, worked out once for each rule and issuer: what every request then is held against.

Nothing here knows whether a decision is explained. `watched` has the same terms with a trace: its classes call the
checks of these and tell what came of each, so that the order of checks reads the same and costs nothing either way.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sidecar.decision import jose, profile
from sidecar.decision.confirmation import ALIASES, OF_PROOFS, Confirmed, check_scheme, confirm
from sidecar.decision.denial import BEARER_ONLY, Denial
from sidecar.decision.facts import Facts
from sidecar.decision.failure import Denied, Failure
from sidecar.decision.jose import UnverifiedJws, VerifiedClaims, canonical_algorithm
from sidecar.decision.nonce import Nonces
from sidecar.decision.policy import Binding, IntrospectWhen, IssuerPolicy, Policy, ReportOnly, Rule
from sidecar.decision.ports import KeySet
from sidecar.decision.presentation import Presentation
from sidecar.decision.proof import ProofTerms
from sidecar.decision.reason import Reason
from sidecar.decision.request import Presenter, RequestHead
from sidecar.decision.token import AccessToken, Confirmation, TokenDigest, ValidatedToken

_NEVER: Final = float("-inf")


class IssuerTerms:
    """What one rule asks of the tokens of one issuer."""

    __slots__ = (
        "accepts_bearer",
        "algorithms",
        "audience",
        "introspects",
        "introspects_all",
        "name",
        "opaque_token_bytes",
        "policy",
        "proofs",
        "reports_until",
        "requires_binding",
        "rule_audience",
        "schemes",
        "skew",
    )  # fmt: skip

    def __init__(
        self, issuer: IssuerPolicy, rule: Rule, policy: Policy, nonces: Nonces | None = None
    ) -> None:
        self.policy = issuer
        self.name = issuer.issuer
        self.algorithms = frozenset(map(canonical_algorithm, issuer.algorithms))
        self.audience = issuer.audience
        self.rule_audience = rule.audience
        self.skew = issuer.clock_skew
        # The rule's word on binding replaces its issuer's; a token's `cnf` outranks both (RFC 8705 §3).
        self.requires_binding = (rule.binding or issuer.binding) is Binding.REQUIRED
        self.introspects = issuer.introspect is not IntrospectWhen.NEVER
        self.opaque_token_bytes = issuer.opaque_token_bytes
        self.introspects_all = issuer.introspect is IntrospectWhen.ALWAYS
        ends: list[ReportOnly | None] = [rule.report_only, issuer.report_only, policy.report_only]
        self.reports_until: float = max((end.until for end in ends if end is not None), default=_NEVER)

        schemes = self.schemes = issuer.confirmable.schemes
        self.accepts_bearer = "Bearer" in schemes
        self.proofs = ProofTerms(issuer.proof, policy.origins, nonces) if "DPoP" in schemes else None
        """What is asked of DPoP proofs; None where the scheme is not accepted."""

    def check_opaque_size(self, size: int) -> None:
        """Raises `Denied` (token_too_large) for an opaque token of more bytes than the issuer is asked about."""
        if size > self.opaque_token_bytes:
            expected = f"an opaque token of at most {self.opaque_token_bytes} bytes"
            raise Denied(Reason.TOKEN_TOO_LARGE, "credentials", expected, f"{size} bytes")

    def verify(self, jws: UnverifiedJws, keys: KeySet) -> VerifiedClaims:
        """Raises `Denied`: algorithm_refused, key_unknown, signature_invalid."""
        return jose.verify(jws, self.algorithms, keys)

    def validate(self, verified: VerifiedClaims, digest: TokenDigest) -> ValidatedToken:
        """Raises `Denied`: token_type_refused, issuer_unknown, claim_missing, claim_malformed."""
        return profile.validate(verified, self.policy, digest)

    def active(self, answer: ValidatedToken | None) -> ValidatedToken:
        """The token that the issuer vouches for, if it does; raises `Denied` (token_inactive)."""
        if answer is None:
            # RFC 7662 §2.2 tells no more: revoked, expired, unknown and somebody else's look the same.
            raise Denied(Reason.TOKEN_INACTIVE, "active", "true", "false")
        return answer

    def check_time(self, token: ValidatedToken, now: float) -> None:
        """Raises `Denied`: token_expired, token_not_yet_valid."""
        # RFC 9068 §4: "The current time MUST be before the time represented by the "exp" claim."
        if now >= token.expires_at + self.skew:
            raise Denied(Reason.TOKEN_EXPIRED, "exp", f"after {now:.0f}", f"{token.expires_at:.0f}")
        # RFC 7519 §4.1.5; and a token from the future was not issued by the clock we share.
        latest = now + self.skew
        if token.not_before is not None and token.not_before > latest:
            raise Denied(Reason.TOKEN_NOT_YET_VALID, "nbf", f"until {latest:.0f}", f"{token.not_before:.0f}")
        if token.issued_at is not None and token.issued_at > latest:
            raise Denied(Reason.TOKEN_NOT_YET_VALID, "iat", f"until {latest:.0f}", f"{token.issued_at:.0f}")

    def check_audience(self, token: ValidatedToken) -> None:
        """Raises `Denied`: audience_mismatch."""
        # RFC 9068 §4: the token "MUST be rejected if "aud" does not contain a resource indicator of the current
        # resource server as a valid audience."
        audience, ruled = token.audience, self.rule_audience
        if not _is_among(audience, self.audience) and not self._may_lack_audience(token):
            raise self._another_audience(self.audience, token)
        if ruled is not None and not _is_among(audience, ruled):
            raise self._another_audience(ruled, token)

    def _may_lack_audience(self, token: ValidatedToken) -> bool:
        return self.policy.audience_missing and not token.audience and token.claims.get("aud") is None

    def _another_audience(self, accepted: frozenset[str], token: ValidatedToken) -> Denied:
        expected = " ".join(sorted(accepted))
        return Denied(Reason.AUDIENCE_MISMATCH, "aud", expected, self._shown(token))

    def _shown(self, token: ValidatedToken) -> str:
        """What a record says of the token's audience: whoever runs the API must know for whom it was issued."""
        if not token.audience:
            return "no audience"
        return f"another audience: {ascii(' '.join(token.audience))[1:-1][:200]}"

    def agreed(self, token: ValidatedToken, vouched: ValidatedToken) -> ValidatedToken:
        """What the token and the issuer's answer about it say together; raises `Denied`: audience_mismatch,
        token_inactive.
        """
        if vouched.audience or vouched.claims.get("aud") is not None:
            self.check_audience(vouched)
        return profile.agreed(token, vouched, self.policy)

    def check_binding(self, confirmation: Confirmation, presentation: Presentation) -> tuple[Confirmed, ...]:
        """The evidence for each member of `cnf`.

        Raises `Denied`: certificate_expired, binding_missing, and what `confirm` raises.
        """
        now, end = presentation.now, presentation.presenter.valid_until
        if end <= now:
            raise Denied(
                Reason.CERTIFICATE_EXPIRED, "certificate.not_after", f"after {now:.0f}", f"{end:.0f}"
            )
        confirmed = confirm(confirmation, presentation)
        if self.requires_binding and not confirmed:
            raise Denied(Reason.BINDING_MISSING, "cnf", "a token bound to the client certificate", "no cnf")
        if presentation.token.scheme != "Bearer" or not self.accepts_bearer:
            check_scheme(presentation.token.scheme, self.schemes, confirmed)
        return confirmed

    def valid_until(
        self, expires_at: float, presenter: Presenter, confirmed: tuple[Confirmed, ...] = ()
    ) -> float:
        """Until when what is permitted now may go on, in seconds since the epoch."""
        end = expires_at + self.skew
        end = min(end, presenter.valid_until)
        for one in confirmed:
            end = min(end, one.until)
        return end


class RuleTerms:
    """What one rule asks of a request."""

    __slots__ = (
        "_acr_values", "_all_scopes", "_max_age", "any_scope", "conditions", "explains", "has_several",
        "is_public", "issuers", "rule", "schemes", "scopes",
    )  # fmt: skip

    def __init__(self, rule: Rule, policy: Policy, nonces: Nonces | None = None) -> None:
        self.rule = rule
        self.is_public = rule.public
        self.explains = False
        """The decision is being explained: nothing is taken from a cache, and failures may show what the token says."""
        accepted = policy.issuers if rule.issuers is None else rule.issuers
        self.issuers: dict[str, IssuerTerms] = {
            name: IssuerTerms(issuer, rule, policy, nonces)
            for name, issuer in policy.issuers.items()
            if name in accepted
        }
        self.schemes = _schemes(self.issuers.values())
        """The schemes that its tokens may come with, each with its `algs` (RFC 9449 §7.1)."""
        self.has_several = len(self.schemes) > 1
        """Whether there is more than one of them."""
        self.scopes = frozenset(rule.scopes)
        self.any_scope = frozenset(rule.any_scope)
        self.conditions = rule.conditions
        self._all_scopes = rule.scopes + rule.any_scope
        self._acr_values = tuple(value for one in rule.conditions for value in one.acr_values)
        self._max_age = min((one.max_age for one in rule.conditions if one.max_age is not None), default=None)

    def is_opaque(self, token: AccessToken) -> bool:
        """Whether only its issuer can read the token."""
        return jose.is_opaque(token)

    def parse(self, token: AccessToken) -> UnverifiedJws:
        """Raises `Denied`: token_malformed, token_encrypted, header_refused, claim_missing, claim_malformed."""
        return jose.parse(token)

    def accepted(self, claimed: str) -> IssuerTerms:
        """The terms for a token that says it is of `claimed`; raises `Denied` (issuer_unknown).

        The token's own `iss` does no more than choose among the issuers configured for this rule.
        """
        return self.issuer(claimed)

    def issuer(self, name: str) -> IssuerTerms:
        """The terms for the tokens of issuer `name`; raises `Denied` (issuer_unknown)."""
        if name not in self.issuers:
            raise Denied(Reason.ISSUER_UNKNOWN, "iss", " ".join(self.issuers), "another issuer")
        return self.issuers[name]

    def failures(self, facts: Facts) -> list[Failure]:
        """All that the rule asks for beyond a valid, bound token and that did not hold."""
        failures = self.scope_failures(facts) if self._all_scopes else []
        for condition in self.conditions:
            failure = condition.failure(facts)
            if failure is not None:
                failures.append(failure)
        return failures

    def scope_failures(self, facts: Facts) -> list[Failure]:
        """The scopes that were not granted (RFC 6750 §3.1: insufficient_scope)."""
        failures = []
        scope = facts.token.scope
        granted = " ".join(sorted(scope)) if facts.reveals else "not granted"
        if not self.scopes <= scope:
            missing = " ".join(sorted(self.scopes - scope))
            failures.append(Failure("scope", Reason.SCOPE_INSUFFICIENT, missing, granted))
        if self.any_scope and self.any_scope.isdisjoint(scope):
            expected = f"one of {' '.join(self.rule.any_scope)}"
            failures.append(Failure("scope", Reason.SCOPE_INSUFFICIENT, expected, granted))
        return failures

    def challenges(self, scheme: str, reason: Reason) -> tuple[tuple[str, str], ...]:
        """The schemes that a challenge names: that in which the error is said comes first."""
        asked = ALIASES.get(scheme, scheme)
        if reason in OF_PROOFS:  # a token that is bound to a key and came as Bearer, too (RFC 9449 §7.2)
            asked = "DPoP"
        if not self.has_several or self.schemes[0][0] == asked:
            return self.schemes
        return tuple(sorted(self.schemes, key=lambda one: one[0] != asked))

    def denial(self, failures: list[Failure], token: ValidatedToken, scheme: str = "Bearer") -> Denial:
        """The refusal for conditions that did not hold: the first one gives the reason."""
        return Denial(
            failures[0].reason,
            tuple(failures),
            self.rule.name,
            token,
            scope=self._all_scopes,
            acr_values=self._acr_values,
            max_age=self._max_age,
            schemes=self.challenges(scheme, failures[0].reason) if self.has_several else self.schemes,
        )


def _is_among(audience: tuple[str, ...], accepted: frozenset[str]) -> bool:
    for one in audience:  # noqa: SIM110 — a generator costs more, and so does `isdisjoint`
        if one in accepted:
            return True
    return False


def _schemes(issuers: Iterable[IssuerTerms]) -> tuple[tuple[str, str], ...]:
    algorithms: dict[str, set[str]] = {}
    for issuer in issuers:
        for scheme in issuer.schemes:
            algorithms.setdefault(scheme, set())
            if scheme == "DPoP":
                algorithms[scheme] |= issuer.policy.proof.algorithms
    return tuple((name, " ".join(sorted(algs))) for name, algs in sorted(algorithms.items())) or BEARER_ONLY


class PolicyTerms:
    """What the whole policy asks: which rule a request is held against."""

    __slots__ = ("matcher", "nonces", "policy", "rules")

    def __init__(self, policy: Policy, nonces: Nonces | None = None) -> None:
        self.policy = policy
        self.matcher = policy.matcher
        self.nonces = nonces
        self.rules = [RuleTerms(rule, policy, nonces) for rule in policy.rules]

    def first(self, head: RequestHead, listener: str) -> tuple[RuleTerms, Mapping[str, str]]:
        """The first rule that fits, and what its path captured; raises `Denied`: rule_unmatched, path_ambiguous."""
        found = self.matcher.first(head, listener)
        if found is None:
            raise Denied(Reason.RULE_UNMATCHED, "rule", "a rule that fits", "none")
        return self.rules[found[0]], found[1]

    def refused(self, failure: Failure) -> None:
        """The decision ended with `failure`."""
