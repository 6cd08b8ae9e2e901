"""A permit: the evidence that one request may be forwarded. `proxy` forwards nothing without one."""

from dataclasses import dataclass

from sidecar.decision.denial import Denial
from sidecar.decision.policy import Rule
from sidecar.decision.token import ValidatedToken


@dataclass(slots=True)
class Permit:
    """Describes an authorized request. Only `authorizer` makes one. Treat as immutable."""

    rule: Rule
    token: ValidatedToken | None
    """None on a public rule."""
    confirmed: tuple[str, ...]
    """The `cnf` members that this connection confirmed, e.g. `("x5t#S256",)`; empty when unbound was allowed."""
    valid_until: float
    """Seconds since the epoch; `inf` on a public rule. A stream ends then."""
    would_deny: Denial | None = None
    """Set when the request passes only because the policy reports instead of enforcing."""
