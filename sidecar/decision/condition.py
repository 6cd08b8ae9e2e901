"""The conditions that a rule may set beyond scope, issuer and binding. One frozen dataclass each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sidecar.decision.denial import Failure
from sidecar.decision.request import ClientCertificate, RequestHead
from sidecar.decision.token import ValidatedToken


@dataclass(slots=True)
class Facts:
    """Everything a condition may look at."""

    head: RequestHead
    token: ValidatedToken
    client_certificate: ClientCertificate | None
    captures: Mapping[str, str]
    now: float
    """Seconds since the epoch."""


class Condition(Protocol):
    """One thing a rule requires. `failure` may answer None for "holds" because `authorizer` is its one caller
    and collects what failed; every other check raises.
    """

    def failure(self, facts: Facts) -> Failure | None:
        """What did not hold, or None."""
