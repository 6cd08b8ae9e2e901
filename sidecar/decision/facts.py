"""What a condition may look at."""

from collections.abc import Mapping

from sidecar.decision.request import ClientCertificate, Presenter, RequestHead
from sidecar.decision.token import ValidatedToken


class Facts:
    """Everything a condition may look at. Treat as immutable."""

    __slots__ = ("captures", "head", "now", "presenter", "reveals", "token")

    def __init__(
        self,
        head: RequestHead,
        token: ValidatedToken,
        presenter: Presenter,
        captures: Mapping[str, str],
        now: float,
        *,
        reveals: bool = False,
    ) -> None:
        self.head = head
        self.token = token
        self.presenter = presenter
        self.captures = captures
        self.now = now
        """Seconds since the epoch."""
        self.reveals = reveals
        """The decision is being explained: whoever asks holds the token, so failures may show what it says."""

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """None when the client presented none."""
        return self.presenter.client_certificate
