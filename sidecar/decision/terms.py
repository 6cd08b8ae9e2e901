"""A rule's terms, worked out once for each issuer that it accepts: what every request then is held against."""

from typing import Final

from sidecar.decision.condition import AuthenticationContext, Facts
from sidecar.decision.confirmation import confirm
from sidecar.decision.denial import Denial, Denied, Failure, Reason
from sidecar.decision.explanation import Trace
from sidecar.decision.jose import canonical_algorithm
from sidecar.decision.policy import Binding, IntrospectWhen, IssuerPolicy, Policy, ReportOnly, Rule
from sidecar.decision.request import Presenter
from sidecar.decision.token import Confirmation, ValidatedToken

_NEVER: Final = float("-inf")


class IssuerTerms:
    """What one rule asks of the tokens of one issuer."""

    __slots__ = (
        "algorithms", "audience", "introspects", "introspects_all", "name", "opaque_token_bytes", "policy",
        "reports_until", "requires_binding", "rule_audience", "skew",
    )  # fmt: skip

    def __init__(self, issuer: IssuerPolicy, rule: Rule, policy: Policy) -> None:
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

    def check_opaque_size(self, size: int) -> None:
        """Raises `Denied` (token_too_large) for an opaque token of more bytes than the issuer is asked about."""
        if size > self.opaque_token_bytes:
            expected = f"an opaque token of at most {self.opaque_token_bytes} bytes"
            raise Denied(Reason.TOKEN_TOO_LARGE, "credentials", expected, f"{size} bytes")

    def check_time(self, token: ValidatedToken, now: float, trace: Trace | None) -> None:
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
        if trace is not None:
            trace.passed("exp", f"after {now:.0f}, ± {self.skew} s", f"{token.expires_at:.0f}")

    def check_audience(self, token: ValidatedToken, trace: Trace | None) -> None:
        """Raises `Denied`: audience_mismatch."""
        # RFC 9068 §4: the token "MUST be rejected if "aud" does not contain a resource indicator of the current
        # resource server as a valid audience."
        for accepted in (self.audience, self.rule_audience):
            if accepted is not None and accepted.isdisjoint(token.audience):
                expected = " ".join(sorted(accepted))
                presented = "another audience" if trace is None else " ".join(token.audience)
                raise Denied(Reason.AUDIENCE_MISMATCH, "aud", expected, presented)
        if trace is not None:
            trace.passed("aud", " ".join(sorted(self.audience)), " ".join(token.audience))

    def check_binding(
        self, confirmation: Confirmation, presenter: Presenter, now: float, trace: Trace | None
    ) -> tuple[str, ...]:
        """The members of `cnf` that this connection confirmed.

        Raises `Denied`: certificate_expired, binding_missing, and what `confirm` raises.
        """
        certificate = presenter.client_certificate
        if certificate is not None and presenter.certificate_must_be_valid and certificate.not_after <= now:
            expected, presented = f"after {now:.0f}", str(certificate.not_after)
            raise Denied(Reason.CERTIFICATE_EXPIRED, "certificate.not_after", expected, presented)
        confirmed = confirm(confirmation, presenter)
        if self.requires_binding and not confirmed:
            raise Denied(Reason.BINDING_MISSING, "cnf", "a token bound to the client certificate", "no cnf")
        if trace is not None:
            mode = "required" if self.requires_binding else "not required"
            trace.passed(f"cnf.{confirmed[0]}" if confirmed else "cnf", mode, " ".join(confirmed) or "no cnf")
        return confirmed

    def valid_until(self, expires_at: float, presenter: Presenter) -> float:
        """Until when what is permitted now may go on, in seconds since the epoch."""
        end = expires_at + self.skew
        certificate = presenter.client_certificate
        if certificate is not None and presenter.certificate_must_be_valid and certificate.not_after < end:
            return certificate.not_after
        return end


class RuleTerms:
    """What one rule asks of a request."""

    __slots__ = (
        "_acr_values", "_all_scopes", "_max_age", "any_scope", "conditions", "issuers", "rule", "scopes",
    )  # fmt: skip

    def __init__(self, rule: Rule, policy: Policy) -> None:
        self.rule = rule
        accepted = policy.issuers if rule.issuers is None else rule.issuers
        self.issuers = {
            name: IssuerTerms(issuer, rule, policy)
            for name, issuer in policy.issuers.items()
            if name in accepted
        }
        self.scopes = frozenset(rule.scopes)
        self.any_scope = frozenset(rule.any_scope)
        self.conditions = rule.conditions
        contexts = [one for one in rule.conditions if isinstance(one, AuthenticationContext)]
        self._all_scopes = rule.scopes + rule.any_scope
        self._acr_values = tuple(value for one in contexts for value in one.acr_values)
        self._max_age = min((one.max_age for one in contexts if one.max_age is not None), default=None)

    def issuer(self, name: str) -> IssuerTerms:
        """The terms for the tokens of issuer `name`; raises `Denied` (issuer_unknown)."""
        terms = self.issuers.get(name)
        if terms is None:
            raise Denied(Reason.ISSUER_UNKNOWN, "iss", " ".join(self.issuers), "another issuer")
        return terms

    def failures(self, facts: Facts, trace: Trace | None) -> list[Failure]:
        """All that the rule asks for beyond a valid, bound token and that did not hold."""
        failures = []
        scope = facts.token.scope
        granted = " ".join(sorted(scope)) if facts.reveals else "not granted"
        if not self.scopes <= scope:
            missing = " ".join(sorted(self.scopes - scope))
            failures.append(Failure("scope", Reason.SCOPE_INSUFFICIENT, missing, granted))
        if self.any_scope and self.any_scope.isdisjoint(scope):
            expected = f"one of {' '.join(self.rule.any_scope)}"
            failures.append(Failure("scope", Reason.SCOPE_INSUFFICIENT, expected, granted))
        if trace is not None:
            self._tell(trace, failures, scope)
        for condition in self.conditions:
            failure = condition.failure(facts)
            if failure is not None:
                failures.append(failure)
            if trace is not None:
                trace.judged(condition.check, str(condition), failure)
        return failures

    def _tell(self, trace: Trace, failures: list[Failure], scope: frozenset[str]) -> None:
        for failure in failures:
            trace.failed(failure)
        if not failures and (self.scopes or self.any_scope):
            trace.passed("scope", " ".join(self.rule.scopes + self.rule.any_scope), " ".join(sorted(scope)))

    def denial(self, failures: list[Failure], token: ValidatedToken) -> Denial:
        """The refusal for conditions that did not hold: the first one gives the reason."""
        return Denial(
            failures[0].reason,
            tuple(failures),
            self.rule.name,
            token,
            scope=self._all_scopes,
            acr_values=self._acr_values,
            max_age=self._max_age,
        )
