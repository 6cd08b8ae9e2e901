"""The process's own servers: health, and the admin page."""

from sidecar.process.health import HealthServer, Inspected
from sidecar.settings.configuration import ServiceSettings


class Endpoints:
    """Starts and stops what the configuration asks for. They outlive the drain, so that a probe sees it."""

    def __init__(self, service: ServiceSettings, inspected: Inspected) -> None:
        self._service = service
        self._health = HealthServer(inspected) if service.health is not None else None
        self._health_port = 0

    async def start(self) -> None:
        """Bind and serve. Raises OSError that names the address."""
        if self._health is not None and self._service.health is not None:
            address = self._service.health
            try:
                self._health_port = await self._health.start(address.host, address.port)
            except OSError as error:
                name = f"{address.host}:{address.port}"
                raise OSError(error.errno, f"health cannot listen on {name}: {error.strerror}") from None

    def addresses(self) -> dict[str, str]:
        """Where they listen, for the log."""
        if self._service.health is None:
            return {}
        return {"health": f"{self._service.health.host}:{self._health_port}"}

    async def close(self) -> None:
        """Stop serving."""
        if self._health is not None:
            await self._health.close()
