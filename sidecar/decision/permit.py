"""A permit: the evidence that one request may be forwarded. `proxy` forwards nothing without one."""

from sidecar.decision.confirmation import Confirmed
from sidecar.decision.denial import Denial
from sidecar.decision.policy import Rule
from sidecar.decision.token import ValidatedToken


class Permit:
    """Describes an authorized request. Only `authorizer` makes one. Treat as immutable."""

    __slots__ = ("confirmed", "nonce", "rule", "token", "valid_until", "would_deny")

    def __init__(
        self,
        rule: Rule,
        token: ValidatedToken | None,
        confirmed: tuple[Confirmed, ...],
        valid_until: float,
        would_deny: Denial | None = None,
    ) -> None:
        self.rule = rule
        self.token = token
        """None on a public rule."""
        self.confirmed = confirmed
        """The evidence for each member of `cnf`; empty when an unbound token was allowed."""
        self.valid_until = valid_until
        """Seconds since the epoch; `inf` on a public rule. A stream ends then."""
        self.would_deny = would_deny
        """Set when the request passes only because the policy reports instead of enforcing."""
        self.nonce: str | None = None
        """What `DPoP-Nonce` says in the response (RFC 9449 §8.2); None: nothing."""
