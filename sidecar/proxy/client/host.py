"""Interfaces through which a client connection uses the server and the listener that accepted it.

The protocols are defined here because the server imports the connection, not the other way round.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from sidecar.decision.request import ClientCertificate
from sidecar.proxy.client.backlog import Backlog
from sidecar.proxy.configuration import ListenerSettings, ProxySettings
from sidecar.proxy.exchange.occupancy import UnderWay
from sidecar.proxy.exchange.snapshot import Serving
from sidecar.proxy.tls import Engine
from sidecar.proxy.vouching.told import ToldCertificates
from sidecar.telemetry.record import Observer

IDLE_GRACE: Final = 1.0
"""Seconds that an idle connection which must end stays open, because a request may be on its way."""
Guest_contra = TypeVar("Guest_contra", contravariant=True)


class Host(Protocol):
    """What all connections of a server share."""

    @property
    def settings(self) -> ProxySettings:
        """The settings in force now."""

    @property
    def serving(self) -> Serving:
        """The snapshot for the next request."""

    @property
    def observer(self) -> Observer:
        """The observer that receives records and events."""

    @property
    def draining(self) -> bool:
        """Whether connections close after their request in progress."""

    @property
    def now(self) -> Callable[[], float]:
        """The clock of deadlines, in seconds."""

    @property
    def under_way(self) -> UnderWay:
        """Counts of requests in progress; incremented and decremented by the streams."""

    @property
    def backlog(self) -> Backlog:
        """Data that waits on all connections."""

    def call_soon(self, call: Callable[[], object], refusals: int = 0) -> None:
        """Run `call` after all others have had their turn of the event loop. `refusals` is the number of consecutive
        requests of this connection that were answered without the API (`turns`).
        """

    def report_bug(self, error: Exception) -> None:
        """Report an unexpected exception."""


class Admits(Host, Protocol[Guest_contra]):
    """Admission of connections by the server."""

    def admit(self, connection: Guest_contra) -> bool:
        """Register a new connection; returns whether it is admitted."""

    def knows_address(self, connection: Guest_contra) -> bool:
        """The address of a connection is known; returns whether that address may have another connection."""

    def is_shedding(self, connection: Guest_contra) -> bool:
        """Whether a connection exceeds the limit, so that its request gets a 503."""

    def is_alone(self, connection: Guest_contra) -> bool:
        """Whether, among connections that are always refused, no other has sent a request since this one did."""

    def connection_gone(self, connection: Guest_contra) -> None:
        """A client connection is closed."""


class MakesEngines(Protocol):
    """`ServerTls`, or a double without cryptography."""

    def engine(self) -> Engine:
        """TLS for one new connection."""

    def accepts(self, chain: list[bytes]) -> bool:
        """Whether a chain that was accepted earlier, possibly by an earlier configuration, is valid under this one."""

    @property
    def list_ends(self) -> tuple[float, ...]:
        """The end of each revocation list in use, in seconds since the epoch."""


class Accepts(Protocol):
    """The listener."""

    @property
    def settings(self) -> ListenerSettings:
        """The settings in force now."""

    @property
    def tls(self) -> MakesEngines:
        """TLS of the present configuration."""

    certificates: ToldCertificates | None
    """Reads the clients' certificates from a field; None if they come from the clients' own TLS."""

    @property
    def requires_valid_certificate(self) -> bool:
        """Whether a certificate is accepted only during its validity period."""

    def expects_preface(self, host: str) -> bool:
        """Whether a peer must begin with a PROXY protocol header."""

    def believes(self, host: str) -> bool:
        """Whether forwarded fields about the client from this peer are used."""

    def check_validity(self, certificate: ClientCertificate | None, now: float) -> None:
        """Check the validity period at `now`, seconds since the epoch. Raises `TlsFailure`."""
