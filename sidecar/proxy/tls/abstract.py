"""What a connection calls of its TLS, whichever that is.

An abstract class, not a `Protocol`: compiled code then calls through a method table, without a look-up by name.
"""

from abc import ABC, abstractmethod

from sidecar.decision.request import ClientCertificate
from sidecar.proxy.native import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Engine(ABC):
    """TLS of one connection: bytes in, bytes out, no socket."""

    __slots__ = ("due", "eof", "established", "records", "speaks")

    def __init__(self) -> None:
        self.due = 0
        """Bytes of the current TLS record that have not arrived yet."""
        self.established = False
        self.records = 0
        """Number of TLS records that began, without those that arrived exactly one per call."""
        self.eof = False
        """The client sent close_notify."""
        self.speaks = False
        """TLS itself must send something, returned by `outgoing`. Whoever sends it resets this flag."""

    @abstractmethod
    def receive(self, data: bytes) -> bytes:
        """Process received bytes; returns plaintext, often none. Raises `TlsFailure`."""

    @abstractmethod
    def outgoing(self) -> bytes:
        """The bytes that must be sent to the client now: handshake, alerts."""

    @abstractmethod
    def send(self, plaintext: bytes) -> bytes:
        """Encrypt plaintext."""

    @abstractmethod
    def client_certificate(self) -> ClientCertificate | None:
        """The certificate whose private key the client has proved to possess."""

    @abstractmethod
    def is_resumed(self) -> bool:
        """Whether the handshake resumed a session."""

    @abstractmethod
    def is_unchecked(self) -> bool:
        """Whether an authority in the client's chain is not covered by any revocation list."""

    @abstractmethod
    def negotiated(self) -> tuple[str, str]:
        """The TLS version and the key exchange group; each is empty if unknown."""

    @abstractmethod
    def protocol(self) -> str:
        """The protocol selected by ALPN (RFC 7301); empty if the client did not offer any."""

    @abstractmethod
    def settle(self) -> None:
        """Release the memory that only the handshake needed: it is complete, and its output was taken."""

    @abstractmethod
    def rest(self) -> None:
        """Release the memory that records needed; the connection is idle. It can be called at any time."""

    @abstractmethod
    def shutdown(self) -> bytes:
        """The close_notify alert."""

    @abstractmethod
    def chain(self) -> list[bytes]:
        """The certificates that the client sent, DER, its own first; in a resumed session only its own."""
