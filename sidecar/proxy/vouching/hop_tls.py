"""How a listener is spoken to: TLS with the clients themselves, TLS with a proxy, or in the clear behind one."""

from collections.abc import Sequence

from sidecar.proxy.configuration import ListenerSettings
from sidecar.proxy.tls import Engine, ServerTls
from sidecar.proxy.tls.plain import PlainText
from sidecar.proxy.vouching.told import ToldCertificates


class HopTls:
    """Between a proxy and a listener that is told the clients' certificates."""

    def __init__(self, settings: ListenerSettings) -> None:
        """Raises `OSError`, `SSL.Error` or `ValueError` for files that cannot be used."""
        if settings.told is None:
            raise ValueError("a listener without TLS is told the clients' certificates")
        self.certificates = ToldCertificates(settings.told)
        tls, protocols = settings.tls, settings.protocols
        self._tls = None if tls is None else ServerTls(tls, settings.name, protocols=protocols)

    def engine(self) -> Engine:
        """TLS for one new connection, or none."""
        return PlainText() if self._tls is None else self._tls.engine()

    @property
    def list_ends(self) -> tuple[float, ...]:
        """When each list for the clients' certificates ends: streams under way are looked at again then."""
        return self.certificates.list_ends

    def accepts(self, _chain: Sequence[bytes]) -> bool:
        """Any peer may connect; what it may say is checked for each request."""
        return True


ListenerTls = ServerTls | HopTls


def listener_tls(settings: ListenerSettings) -> ListenerTls:
    """What a listener's settings make. Raises `OSError`, `SSL.Error` or `ValueError` for files that cannot be used."""
    if settings.told is None and settings.tls is not None:
        return ServerTls(settings.tls, settings.name, protocols=settings.protocols)
    return HopTls(settings)
