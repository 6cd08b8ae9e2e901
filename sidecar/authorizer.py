"""The one place where the core meets its ports: a request → `Permit` or `Denial`.

The whole order of checks is on this screen. `authorize` answers at once when everything needed is in memory (the
usual case: no task, no future); only a question to an issuer makes it hand back an awaitable.
"""

from collections.abc import Awaitable

from sidecar.decision.denial import Denial
from sidecar.decision.permit import Permit
from sidecar.decision.policy import Policy
from sidecar.decision.ports import KeySource, TokenIntrospector
from sidecar.decision.request import Presenter, RequestHead

Decision = Permit | Denial


class Authorizer:
    """Decides. Holds the policy snapshot, the ports and the cache of verified tokens."""

    def __init__(
        self,
        policy: Policy,
        keys: KeySource,
        introspector: TokenIntrospector | None = None,
        *,
        digest_key: bytes,
        token_bytes: int = 16384,
        cached_tokens: int = 100_000,
    ) -> None:
        self.policy = policy

    def authorize(
        self, head: RequestHead, presenter: Presenter, now: float
    ) -> Decision | Awaitable[Decision]:
        """Decide about one request at time `now` (seconds since the epoch). Never raises `Denied`."""
        raise NotImplementedError
