"""What a condition may look at."""

from collections.abc import Mapping

from sidecar.decision.request import ClientCertificate, RequestHead
from sidecar.decision.token import ValidatedToken


class Facts:
    """Everything a condition may look at. Treat as immutable."""

    __slots__ = ("captures", "client_certificate", "head", "now", "reveals", "token")

    def __init__(
        self,
        head: RequestHead,
        token: ValidatedToken,
        client_certificate: ClientCertificate | None,
        captures: Mapping[str, str],
        now: float,
        *,
        reveals: bool = False,
    ) -> None:
        self.head = head
        self.token = token
        self.client_certificate = client_certificate
        self.captures = captures
        self.now = now
        """Seconds since the epoch."""
        self.reveals = reveals
        """The decision is being explained: whoever asks holds the token, so failures may show what it says."""
