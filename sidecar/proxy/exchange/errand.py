"""A request of the sidecar's own to the upstream; only the status of the response is used."""

import asyncio

from sidecar.decision.denial import Reason
from sidecar.http.message import Response
from sidecar.proxy.upstream.connection import Passenger, UpstreamConnection
from sidecar.proxy.upstream.pool import UpstreamPool


class Errand(Passenger):
    """One request of the sidecar's own."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self._head = head
        self._body = body
        self._upstream: UpstreamConnection | None = None
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self, pool: UpstreamPool, within: float) -> int:
        """Send it; returns the status of the response, or 0 if there was none within `within` seconds."""
        pool.submit(self)
        try:
            async with asyncio.timeout(within):
                return await self._status
        except TimeoutError:
            return 0
        finally:
            if self._upstream is not None:
                self._upstream.discard()

    @property
    def is_over(self) -> bool:
        return self._status.done()

    @property
    def source(self) -> str:
        return ""

    def attach(self, upstream: UpstreamConnection) -> None:
        self._upstream = upstream
        upstream.carry(self, self._head, self._body, bodiless=False)

    def response_arrived(self, heads: list[Response], body: list[bytes], response: Response) -> None:
        for head in heads:
            if not head.interim:
                self._end(head.status)

    def tunnelled(self, data: bytes) -> None:
        self._end(0)

    def upstream_failed(self, reason: Reason, detail: str) -> None:
        self._upstream = None
        self._end(0)

    def broke(self, error: Exception) -> None:
        self._end(0)

    def upstream_blocked(self) -> None:
        """Nothing to do: a form fits into any buffer."""

    def upstream_ready(self) -> None:
        """See `upstream_blocked`."""

    def _end(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)
