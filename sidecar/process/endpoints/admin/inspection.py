"""What the admin page asks of the process: one worker answers for itself, a supervisor for all of its workers."""

from typing import Any, Protocol

from sidecar.process.endpoints.health import Inspected
from sidecar.telemetry.configuration import Level

JsonObject = dict[str, Any]
"""JSON."""


class Refused(Exception):
    """What was asked makes no sense; the message is one plain line for who asked."""


class Inspection(Inspected, Protocol):
    """Everything that can be asked."""

    async def decisions(self, cursor: str, limit: int) -> JsonObject:
        """Requests that ended after `cursor` (empty: the last ones), at most `limit` of the newest:
        `{"cursor": …, "skipped": …, "entries": […]}`.
        """

    async def state(self) -> JsonObject:
        """Configuration, issuers, certificates, counts."""

    async def clients(self) -> JsonObject:
        """What each client's requests were, whom to call first: `{"since": …, "clients": […]}`, with the moment from
        which on every request is in the figures.
        """

    async def configuration(self) -> JsonObject:
        """The configuration in force, without secrets."""

    async def explain(self, question: JsonObject) -> JsonObject:
        """Why a request would be permitted or refused. Raises `Refused`."""

    async def log_level(self, level: Level | None = None) -> Level:
        """The level in force, after setting it if one is given."""

    async def reload(self) -> None:
        """Reload the configuration from disk soon."""
