"""`Inspection` of a crew: the combined answers of its workers."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from sidecar.process.crew.channel import ChannelClosed
from sidecar.process.crew.seat import Seat
from sidecar.process.endpoints.admin.inspection import JsonObject, Refused
from sidecar.process.endpoints.health import Check, begun_again, heartbeat
from sidecar.process.host.standing import StandingTasks
from sidecar.process.reload.reloader import Reloader
from sidecar.process.worker.local_inspection import configuration_checks, reload_state
from sidecar.telemetry.adoption import Client, rows
from sidecar.telemetry.configuration import Level
from sidecar.telemetry.metrics import Snapshot

_GONE = (ChannelClosed, TimeoutError)


class Seats(Protocol):
    """What an inspection needs from a crew; `Crew` implements it."""

    seats: list[Seat]
    stopping: bool
    reloader: Reloader
    tasks: StandingTasks

    async def snapshot(self) -> Snapshot:
        """The figures of all workers, including ended workers and the supervisor."""


class CrewInspection:
    """Asks the workers."""

    def __init__(self, crew: Seats) -> None:
        self._crew = crew
        self._started = time.time()
        self._level: Level | None = None

    def liveness(self) -> Sequence[Check]:
        """Whether at least one worker's event loop runs. A draining process is meant to end by itself."""
        if self._crew.stopping:
            return [Check("draining", ok=True)]
        now = time.monotonic()
        ages = [now - seat.end.heard_at for seat in self._crew.seats if seat.end is not None]
        if not ages:
            return [Check("workers", ok=False, detail="no worker serves")]
        return [heartbeat(min(ages), "workers", "no worker has answered")]

    async def readiness(self) -> Sequence[Check]:
        """Ready if one worker is ready; shared checks are listed once."""
        return [*await self._checks("readiness"), *configuration_checks(self._crew.reloader)]

    async def startup(self) -> Sequence[Check]:
        """Whether every seat has a worker."""
        return await self._checks("startup")

    async def grpc_health(self, service: str) -> Check | None:
        """Asks one worker, because all have the same API."""
        try:
            found = await self._any("grpc_health", service)
        except Refused as refusal:
            return Check("workers", ok=False, detail=str(refusal))
        return None if found is None else Check(**found)

    async def _checks(self, method: str) -> Sequence[Check]:
        serving = [answer for _, answer in await self._all(method)]
        found = [[Check(**check) for check in answer] for answer in serving]
        best = max(found, key=lambda checks: sum(check.ok for check in checks), default=[])
        draining = [Check("draining", ok=False, detail="draining")] if self._crew.stopping else []
        workers = f"{len(found)} of {len(self._crew.seats)}"
        tasks = begun_again(self._crew.tasks.failed())
        return [*draining, Check("workers", ok=bool(found), detail="" if found else workers), *best, *tasks]

    async def snapshot(self) -> Snapshot:
        """The figures of all."""
        return await self._crew.snapshot()

    async def decisions(self, cursor: str, limit: int) -> JsonObject:
        """The newest of all workers' decisions; the cursor names each worker's own."""
        known = dict(part.split(":", 1) for part in cursor.split(",") if ":" in part)
        asked = [
            (seat, seat.ask("decisions", (known.get(str(seat.pid), ""), limit)))
            for seat in self._crew.seats
            if seat.answers
        ]
        answers = await asyncio.gather(*(question for _, question in asked), return_exceptions=True)
        found = [
            (seat.pid, one) for (seat, _), one in zip(asked, answers, strict=True) if isinstance(one, dict)
        ]
        entries = sorted(
            (entry for _, one in found for entry in one["entries"]), key=lambda entry: entry["time"]
        )
        return {
            "cursor": ",".join(f"{pid}:{one['cursor']}" for pid, one in found),
            "skipped": sum(one["skipped"] for _, one in found) + max(0, len(entries) - limit),
            "entries": entries[-limit:],
        }

    async def state(self) -> JsonObject:
        """Shared values from one worker, counts from all."""
        answers = await self._all("state")
        if not answers:
            raise Refused("no worker serves")
        states = [answer for _, answer in answers]
        checks = await self.readiness()
        return {
            **states[0],
            "started": self._started,
            "workers": [seat.pid for seat, _ in answers],
            "ready": all(check.ok for check in checks),
            "checks": [asdict(check) for check in checks],
            "configuration": reload_state(self._crew.reloader),
            "counts": _summed([state["counts"] for state in states]),
        }

    async def clients(self) -> JsonObject:
        """The clients of all workers; a restarted worker has counted only since its restart."""
        answers = [answer for _, answer in await self._all("clients")]
        if not answers:
            raise Refused("no worker serves")
        return {
            "since": max(one["since"] for one in answers),
            "clients": rows(Client[str](**row) for one in answers for row in one["clients"]),
        }

    async def configuration(self) -> JsonObject:
        """The configuration of one worker, because all have the same."""
        found: JsonObject = await self._any("configuration")
        return found

    async def explain(self, question: JsonObject) -> JsonObject:
        """Asks one worker, because all give the same answer."""
        found: JsonObject = await self._any("explain", question)
        return found

    async def log_level(self, level: Level | None = None) -> Level:
        """The log level of all workers, after it was set if one is given."""
        answers = await self._all("log_level", None if level is None else level.value)
        if not answers:
            raise Refused("no worker serves")
        return Level(answers[0][1])

    async def reload(self) -> None:
        """Reload the configuration from disk soon."""
        if self._crew.stopping:
            raise Refused("the process is draining")
        self._crew.reloader.request("admin")

    async def _all(self, method: str, argument: Any = None) -> list[tuple[Seat, Any]]:
        serving = [seat for seat in self._crew.seats if seat.answers]
        answers = await asyncio.gather(
            *(seat.ask(method, argument) for seat in serving), return_exceptions=True
        )
        return [
            (seat, one)
            for seat, one in zip(serving, answers, strict=True)
            if not isinstance(one, BaseException)
        ]

    async def _any(self, method: str, argument: Any = None) -> Any:
        for seat in sorted(self._crew.seats, key=lambda seat: seat.silent):
            try:
                return await seat.ask(method, argument)
            except _GONE:
                continue
            except RuntimeError as error:
                raise Refused(str(error)) from None
        raise Refused("no worker serves")


def _summed(counts: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of labels and a number are added by their labels, numbers as they are."""
    total: dict[str, Any] = {}
    for name, first in counts[0].items():
        if isinstance(first, list):
            rows: dict[tuple[str | float | None, ...], float] = {}
            for one in counts:
                for *labels, number in one[name]:
                    rows[tuple(labels)] = rows.get(tuple(labels), 0) + number
            total[name] = [[*labels, number] for labels, number in rows.items()]
        else:
            total[name] = sum(one[name] for one in counts)
    return total
