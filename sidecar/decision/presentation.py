"""What is presented with one request: all that a confirmation may look at."""

from sidecar.decision.access_token import AccessToken
from sidecar.decision.proof import ProofTerms
from sidecar.decision.request import Presenter, RequestHead


class Presentation:
    """An access token, as one request on one connection presents it. Treat as immutable."""

    __slots__ = ("head", "now", "presenter", "proofs", "token")

    def __init__(
        self,
        head: RequestHead,
        presenter: Presenter,
        token: AccessToken,
        now: float,
        proofs: ProofTerms | None = None,
    ) -> None:
        self.head = head
        self.presenter = presenter
        self.token = token
        """As it came."""
        self.now = now
        """Seconds since the epoch."""
        self.proofs = proofs
        """Requirements for DPoP proofs; None if proofs are not accepted."""
