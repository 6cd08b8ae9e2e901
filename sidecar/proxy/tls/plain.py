"""The `Engine` without TLS, for connections of a proxy on the same machine."""

from sidecar.decision.request import ClientCertificate
from sidecar.proxy.tls.abstract import Engine


class PlainText(Engine):
    """`Engine` that changes nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.established = True

    def receive(self, data: bytes) -> bytes:
        """The received bytes."""
        return data

    def outgoing(self) -> bytes:
        """Empty: there is no handshake."""
        return b""

    def send(self, plaintext: bytes) -> bytes:
        """The plaintext unchanged."""
        return plaintext

    def client_certificate(self) -> ClientCertificate | None:
        """None: there is no certificate."""
        return None

    def is_resumed(self) -> bool:
        """False: there are no sessions."""
        return False

    def is_unchecked(self) -> bool:
        """False: there is no chain."""
        return False

    def negotiated(self) -> tuple[str, str]:
        """Neither version nor group."""
        return "", ""

    def protocol(self) -> str:
        """Empty: no protocol is negotiated."""
        return ""

    def settle(self) -> None:
        """Nothing to release."""

    def rest(self) -> None:
        """Nothing to release."""

    def shutdown(self) -> bytes:
        """Empty: closing TCP ends the connection."""
        return b""

    def chain(self) -> list[bytes]:
        """Empty."""
        return []
