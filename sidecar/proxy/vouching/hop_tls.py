"""The transport security of a listener: TLS with clients, TLS with a proxy, or plaintext behind one."""

from collections.abc import Sequence

from sidecar.proxy.configuration import ListenerSettings
from sidecar.proxy.tls import Engine, ServerTls
from sidecar.proxy.tls.plain import PlainText
from sidecar.proxy.vouching.told import ToldCertificates


class HopTls:
    """TLS or plaintext between a proxy and a listener that gets the clients' certificates in a field."""

    def __init__(self, settings: ListenerSettings) -> None:
        """Raises `OSError`, `SSL.Error` or `ValueError` for unusable files."""
        if settings.told is None:
            raise ValueError("a listener without TLS is told the clients' certificates")
        self.certificates = ToldCertificates(settings.told)
        tls, protocols = settings.tls, settings.protocols
        self._tls = None if tls is None else ServerTls(tls, settings.name, protocols=protocols)

    def engine(self) -> Engine:
        """The TLS engine of a new connection, or the plaintext one."""
        return PlainText() if self._tls is None else self._tls.engine()

    @property
    def list_ends(self) -> tuple[float, ...]:
        """The end of each list for the clients' certificates: requests in progress are checked again then."""
        return self.certificates.list_ends

    def accepts(self, _chain: Sequence[bytes]) -> bool:
        """True: any peer may connect; its right to forward certificates is checked for each request."""
        return True


ListenerTls = ServerTls | HopTls


def listener_tls(settings: ListenerSettings) -> ListenerTls:
    """The TLS object for a listener's settings. Raises `OSError`, `SSL.Error` or `ValueError` for unusable files."""
    if settings.told is None and settings.tls is not None:
        return ServerTls(settings.tls, settings.name, protocols=settings.protocols)
    return HopTls(settings)
