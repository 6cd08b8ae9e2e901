"""What a client connection knows of the server that it belongs to, and of the listener that accepted it.

Protocols, owned by their user: the server imports the connection, not the other way round.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sidecar.decision.request import ClientCertificate
from sidecar.proxy.configuration import ListenerSettings, ProxySettings
from sidecar.proxy.exchange.occupancy import UnderWay
from sidecar.proxy.exchange.snapshot import Serving
from sidecar.proxy.tls import Engine
from sidecar.proxy.vouching.told import ToldCertificates
from sidecar.telemetry.record import Observer

Guest_contra = TypeVar("Guest_contra", contravariant=True)


class Host(Protocol):
    """What the requests on a connection share with all others."""

    @property
    def settings(self) -> ProxySettings:
        """What is in force now."""

    @property
    def serving(self) -> Serving:
        """What the next request is served under."""

    @property
    def observer(self) -> Observer:
        """Who is told."""

    @property
    def draining(self) -> bool:
        """Whether no connection outlives its request."""

    @property
    def now(self) -> Callable[[], float]:
        """Seconds of the clock that deadlines are set by."""

    @property
    def under_way(self) -> UnderWay:
        """Requests now under way, counted by whoever begins and ends them."""

    def call_soon(self, call: Callable[[], object], refusals: int = 0) -> None:
        """Run `call` when all others have had their turn of the event loop; `refusals`: how many requests in a row were
        answered without the API where it comes from (`turns`).
        """

    def report_bug(self, error: Exception) -> None:
        """Takes an exception that should not have been."""


class Admits(Host, Protocol[Guest_contra]):
    """Whom the server lets in."""

    def admit(self, connection: Guest_contra) -> bool:
        """Take a new connection in, or not."""

    def knows_address(self, connection: Guest_contra) -> bool:
        """A connection's address is known; whether it may have another connection."""

    def is_shedding(self, connection: Guest_contra) -> bool:
        """Whether a connection is one too many and its request gets a 503."""

    def is_alone(self, connection: Guest_contra) -> bool:
        """Whether of all connections that are always refused no other has asked since this one did."""

    def connection_gone(self, connection: Guest_contra) -> None:
        """A client connection is closed."""


class MakesEngines(Protocol):
    """`ServerTls`, or a double without cryptography."""

    def engine(self) -> Engine:
        """TLS for one new connection."""

    def accepts(self, chain: list[bytes]) -> bool:
        """Whether a chain that was accepted earlier, or by an earlier configuration, verifies under this one now."""

    @property
    def list_ends(self) -> tuple[float, ...]:
        """When each revocation list in use ends, seconds since the epoch."""


class Accepts(Protocol):
    """The listener."""

    @property
    def settings(self) -> ListenerSettings:
        """What is in force now."""

    @property
    def tls(self) -> MakesEngines:
        """That of the present configuration."""

    certificates: ToldCertificates | None
    """Reads the clients' certificates from a field; None: they come with the clients' own TLS."""

    @property
    def requires_valid_certificate(self) -> bool:
        """Whether a certificate counts only while it is valid."""

    def expects_preface(self, host: str) -> bool:
        """Whether a peer must begin with a PROXY protocol header."""

    def believes(self, host: str) -> bool:
        """Whether what a peer forwards about its client is taken for true."""

    def check_validity(self, certificate: ClientCertificate | None, now: float) -> None:
        """Raises `TlsFailure`."""
