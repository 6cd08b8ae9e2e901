"""The process's own servers: health, and the admin page. They outlive the drain, so that a probe sees it."""

import os
from collections.abc import Awaitable, Callable

from sidecar.process.endpoints.admin.inspection import Inspection
from sidecar.process.endpoints.admin.server import AdminServer
from sidecar.process.endpoints.admin.token import AdminToken, token_file
from sidecar.process.endpoints.health import HealthServer
from sidecar.process.host import hardening
from sidecar.settings.configuration import ServerAddress, ServiceSettings


def reason(error: OSError) -> str:
    """The system's error text, without the text that asyncio adds."""
    return (
        os.strerror(error.errno).lower() if error.errno and error.errno > 0 else error.strerror or str(error)
    )


class Endpoints:
    """Starts and stops the configured servers."""

    def __init__(self, service: ServiceSettings, inspection: Inspection) -> None:
        self._service = service
        self._health = HealthServer(inspection)
        admin = service.admin
        self._token = AdminToken(token_file(admin)) if admin is not None and not admin.path else None
        self._admin = AdminServer(inspection, self._token)
        self._addresses: dict[str, str] = {}

    async def start(self) -> None:
        """Bind and serve. Raises OSError that names the address."""
        health, admin = self._service.health, self._service.admin
        if self._token is not None:
            self._token.write(self._owner())
        if admin is not None:
            await self._bind("admin", admin, lambda: self._admin.start(admin.host, admin.port, admin.path))
        if health is not None:  # last: whoever is told that we are ready finds everything open
            await self._bind("health", health, lambda: self._health.start(health.host, health.port))

    def _owner(self) -> tuple[int, int] | None:
        """The account that this process will be, whose the token's file must be."""
        run_as = self._service.hardening.run_as
        if run_as is None or os.geteuid() != 0:
            return None
        account = hardening.account(run_as)
        return account.uid, account.gid

    async def _bind(self, name: str, address: ServerAddress, start: Callable[[], Awaitable[int]]) -> None:
        try:
            port = await start()
        except OSError as error:
            where = address.path or f"{address.host}:{address.port}"
            raise OSError(error.errno, f"{name} cannot listen on {where}: {reason(error)}") from None
        self._addresses[name] = address.path or f"{address.host}:{port}"

    def addresses(self) -> dict[str, str]:
        """Their addresses, for the log."""
        return dict(self._addresses)

    async def close(self) -> None:
        """Stop serving."""
        await self._admin.close()
        if self._token is not None:
            self._token.remove()
        await self._health.close()
