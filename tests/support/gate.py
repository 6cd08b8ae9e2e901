"""The authorizer over the product's own issuers: what a client is answered while an issuer does what a test says."""

import inspect
import time
from collections.abc import Iterable

from sidecar.authorizer import Authorizer
from sidecar.decision.denial import Denial
from sidecar.decision.policy import IntrospectWhen, IssuerPolicy
from sidecar.decision.request import Presenter
from sidecar.issuer.issuers import Issuers
from tests.support.issuer import ScriptedIssuer
from tests.support.pki import Identity
from tests.support.world import DIGEST_KEY, head, issuer_policy, policy, presenter, rule

PERMITTED = "permitted"


class Gate:
    """One protected resource; `answer` says what becomes of a token."""

    def __init__(self, issuers: Issuers, policies: Iterable[IssuerPolicy], client: Identity) -> None:
        self.authorizer = Authorizer(
            policy(rule(), issuers=policies),
            issuers,
            issuers,
            digest_key=DIGEST_KEY,
            elapsing=time.monotonic,
            in_force=issuers.in_force,
        )
        self.presenter: Presenter = presenter(client)

    async def answer(self, token: str, by: Presenter | None = None) -> str:
        """`permitted`, or the reason of the denial."""
        return _named(await self.decision(token, by))

    def at_once(self, token: str) -> str:
        """As `answer`, for a token that must be decided from memory: no task, no I/O."""
        decision = self.authorizer.authorize(head(token), self.presenter, time.time())
        assert not inspect.isawaitable(decision)
        return _named(decision)

    async def decision(self, token: str, by: Presenter | None = None) -> object:
        """The permit or the denial."""
        decision = self.authorizer.authorize(head(token), by or self.presenter, time.time())
        return await decision if inspect.isawaitable(decision) else decision


def _named(decision: object) -> str:
    return decision.reason.value if isinstance(decision, Denial) else PERMITTED


def policy_for(issuer: ScriptedIssuer, introspect: IntrospectWhen = IntrospectWhen.NEVER) -> IssuerPolicy:
    """Accepts the tokens of a scripted issuer."""
    return issuer_policy(issuer.url, introspect=introspect)
