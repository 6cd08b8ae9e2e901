"""No TLS: what the connection of a proxy on the same machine has in its place."""

from sidecar.decision.request import ClientCertificate


class PlainText:
    """`Engine` that changes nothing."""

    __slots__ = ("due", "eof", "established", "records", "speaks")

    def __init__(self) -> None:
        self.due = 0
        self.established = True
        self.records = 0
        self.eof = False
        self.speaks = False

    def receive(self, data: bytes) -> bytes:
        """What came."""
        return data

    def outgoing(self) -> bytes:
        """Nothing: there is no handshake."""
        return b""

    def send(self, plaintext: bytes) -> bytes:
        """What goes out."""
        return plaintext

    def client_certificate(self) -> ClientCertificate | None:
        """None."""
        return None

    def is_resumed(self) -> bool:
        """There are no sessions."""
        return False

    def is_unchecked(self) -> bool:
        """There is no chain."""
        return False

    def negotiated(self) -> tuple[str, str]:
        """Neither version nor group."""
        return "", ""

    def protocol(self) -> str:
        """Nothing was agreed upon."""
        return ""

    def settle(self) -> None:
        """Nothing was taken."""

    def shutdown(self) -> bytes:
        """The end is the connection's own."""
        return b""

    def chain(self) -> list[bytes]:
        """None."""
        return []
