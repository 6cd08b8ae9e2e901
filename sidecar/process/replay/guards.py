"""The guard that a configuration asks for: the memory of this process, or the one server that all ask."""

from collections.abc import Callable

from sidecar.decision.replay import ReplayGuard, ReplayMemory
from sidecar.process.replay.redis_guard import RedisGuard
from sidecar.settings.configuration import DpopSettings
from sidecar.settings.redis_place import RedisPlace
from sidecar.trust.client_context import ServerTrust, client_context


class Guards:
    """Outlives configurations: what was used stays used, and a connection serves while its place stays the same."""

    def __init__(self, memory: ReplayGuard, incident: Callable[[str, str], None] | None = None) -> None:
        """`memory` is of this process, or what the supervisor keeps. `incident` is told of each failure to ask: its
        name, and the cause.
        """
        self.memory = memory
        self._incident = incident
        self._made: tuple[object, RedisGuard] | None = None

    @property
    def remembered(self) -> int:
        """Number of proofs that this process stores."""
        return len(self.memory) if isinstance(self.memory, ReplayMemory) else 0

    def guard(self, settings: DpopSettings) -> ReplayGuard:
        """Opens nothing. Raises `OSError` and `ValueError` for files that changed since they were looked at."""
        if settings.replay_url_file is None:
            return self.memory
        place = RedisPlace.parse(settings.replay_url_file.read_text("utf-8"))
        authorities = None if settings.replay_ca_file is None else settings.replay_ca_file.read_bytes()
        key = (place, authorities, settings.accepts_when_unreachable)
        if self._made is None or self._made[0] != key:
            if self._made is not None:
                self._made[1].retire()
            tls = client_context(ServerTrust(settings.replay_ca_file)) if place.is_tls else None
            self._made = (
                key,
                RedisGuard(place, tls, accepts=settings.accepts_when_unreachable, incident=self._incident),
            )
        return self._made[1]
