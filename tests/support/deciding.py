"""Who decides and who is told, in place of the authorizer and the telemetry."""

import asyncio

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.permit import Permit
from sidecar.decision.request import Presenter, RequestHead
from sidecar.telemetry.record import AuditRecord
from sidecar.telemetry.sink import LineSink
from tests.support.records import permit

Decision = Permit | Denial


class Gate:
    """Who decides: permits what it was not told to refuse, by path."""

    def __init__(self) -> None:
        self.verdicts: dict[str, Decision | asyncio.Future[Decision] | Exception] = {}
        self.asked: list[RequestHead] = []
        self.presenters: list[Presenter] = []
        self.permitted = 0
        self.valid_until = float("inf")

    def authorize(
        self, head: RequestHead, presenter: Presenter, now: float
    ) -> Decision | asyncio.Future[Decision]:
        self.asked.append(head)
        self.presenters.append(presenter)
        verdict = self.verdicts.get(head.path)
        if isinstance(verdict, Exception):
            raise verdict
        if isinstance(verdict, asyncio.Future):
            verdict.add_done_callback(self._count)
            return verdict
        decision = verdict or self.permit()
        self.permitted += isinstance(decision, Permit)
        return decision

    def permit(self, **changes: object) -> Permit:
        given = permit()
        given.valid_until = self.valid_until
        for name, value in changes.items():
            setattr(given, name, value)
        return given

    def refuse(self, path: str, reason: Reason = Reason.SCOPE_INSUFFICIENT) -> None:
        self.verdicts[path] = Denial(reason)

    def _count(self, future: asyncio.Future[Decision]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.permitted += isinstance(future.result(), Permit)


class Observed:
    """Who is told: keeps it."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.handshakes: list[tuple[str, str]] = []
        self.negotiations: list[tuple[str, str]] = []
        self.protocols: list[str] = []
        self.glitches: dict[str, int] = {}
        self.incidents: list[tuple[str, str]] = []
        self.open = 0
        self.places: LineSink | None = None

    def observe(self, record: AuditRecord) -> None:
        self.records.append(record)

    def handshake(self, result: str, peer: str = "", detail: str = "") -> None:
        self.handshakes.append((result, detail))

    def negotiated(self, version: str, group: str, protocol: str) -> None:
        self.negotiations.append((version, group))
        self.protocols.append(protocol)

    def connection_opened(self) -> None:
        self.open += 1

    def connection_closed(self) -> None:
        self.open -= 1

    def header_stripped(self, name: str) -> None:
        self.incidents.append(("header_stripped", name))

    def incident(self, name: str, detail: str = "") -> None:
        self.incidents.append((name, detail))

    def http2_glitches(self, kind: str, count: int) -> None:
        self.glitches[kind] = self.glitches.get(kind, 0) + count
