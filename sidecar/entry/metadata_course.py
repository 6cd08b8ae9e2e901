"""A request for the metadata of an authorization server (RFC 8414 §3): an ordinary one by the rules, its answer
overlaid.

The server is asked under its issuer's name, whatever the client called it by: some write every URL of their metadata
after the request.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.decision.denial import Denial
from sidecar.decision.permit import Permit
from sidecar.decision.request import Presenter, RequestHead
from sidecar.decision.strict import Malformed
from sidecar.entry.issued_token import content
from sidecar.entry.metadata_overlay import MetadataOverlay, NotOverlaid
from sidecar.http.fields import RequestFields
from sidecar.http.message import Request, Response
from sidecar.proxy.exchange.endpoints import AnswerReplaced, Course, Decision, Judgement, Outgoing
from sidecar.proxy.exchange.snapshot import Authorizes
from sidecar.telemetry.record import ClientNotes

_DROPPED: Final = frozenset(
    {
        b"accept-encoding", b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since",
        b"range",
    }
)  # fmt: skip
"""Fields that could lead to an answer without the whole document: partial, conditional or encoded."""


class MetadataCourse(Course):
    """One such request."""

    def __init__(
        self, overlay: MetadataOverlay, host: bytes, authorizer: Authorizes, report: Callable[[str], None]
    ) -> None:
        """`host` is that of the issuer; `report` is told why a document was left as it is."""
        super().__init__(0)
        self._overlay = overlay
        self._host = host
        self._authorizer = authorizer
        self._report = report

    def decide(
        self,
        head: RequestHead,
        request: Request,
        fields: RequestFields,
        body: bytes,
        *,
        presenter: Presenter,
        now: float,
    ) -> Decision | Awaitable[Decision]:
        return self._authorizer.authorize(head, presenter, now)

    def outgoing(
        self, permit: Permit, head: RequestHead, fields: RequestFields, body: bytes, presenter: Presenter
    ) -> Outgoing:
        lines = b"Accept-Encoding: identity\r\n"
        return Outgoing(head.target.encode("latin-1"), lines=lines, dropped=_DROPPED, host=self._host)

    def refusal(self, response: Response) -> Denial | None:
        return None

    def reads_answer(self, response: Response) -> bool:
        return response.status == 200

    def judged(self, response: Response, body: bytes | None, presenter: Presenter) -> Judgement:
        try:
            if body is None:
                raise NotOverlaid("the metadata is too long")
            coding = {name.lower(): value for name, value in response.fields}.get(b"content-encoding", b"")
            return AnswerReplaced(self._overlay.laid_over(content(body, coding.decode("latin-1"))))
        except (NotOverlaid, Malformed) as why:
            if body != b"":  # the answer to HEAD
                self._report(str(why))
            return None

    def notes(self) -> ClientNotes | None:
        return None
