"""The interface between an exchange and the endpoints of an authorization server.

A request to an endpoint is read whole before the decision; its response may be read whole before it is passed on.
`entry` implements this interface, which is defined here by its user. One `Course` is made for each request to an
endpoint. The exchange calls `decide`, then `outgoing`, then `judged`.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Final

from sidecar.decision.denial import Denial
from sidecar.decision.permit import Permit
from sidecar.decision.request import Presenter, RequestHead
from sidecar.http.answer import Answer
from sidecar.http.fields import RequestFields
from sidecar.http.message import Request, Response
from sidecar.proxy.native import mypyc_attr
from sidecar.telemetry.record import ClientNotes

Decision = Permit | Denial

MOST_ANSWER: Final = 256 << 10
"""Largest content of a response that is read whole, in bytes."""


class Outgoing:
    """What is sent to the upstream instead of the received request."""

    __slots__ = ("authorization", "body", "dropped", "host", "lines", "target")

    def __init__(
        self,
        target: bytes,
        *,
        body: bytes = b"",
        lines: bytes = b"",
        dropped: frozenset[bytes] = frozenset(),
        authorization: bool = False,
        host: bytes = b"",
    ) -> None:
        self.target = target
        """Path and query."""
        self.body = body
        """The whole content."""
        self.lines = lines
        """Field lines that the sidecar adds, each with its line end."""
        self.dropped = dropped
        """Names, in lower case, of the client's fields that are not forwarded."""
        self.authorization = authorization
        """Whether the client's `Authorization` is forwarded."""
        self.host = host
        """Media type of the content; empty: the client's."""


class AnswerReplaced:
    """Replacement content for a response."""

    __slots__ = ("body",)

    def __init__(self, body: bytes) -> None:
        self.body = body


class AnswerRefused:
    """The response is not passed on."""

    __slots__ = ("denial", "errands")

    def __init__(self, denial: Denial, errands: tuple[Outgoing, ...] = ()) -> None:
        self.denial = denial
        self.errands = errands
        """Forms that are posted to the upstream to revoke the tokens of its response."""


Judgement = AnswerRefused | AnswerReplaced | None
"""None: the response is passed on unchanged."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Course(ABC):
    """One request to an endpoint."""

    def __init__(self, most_body: int) -> None:
        # Set here and not in the class body: compiled code does not see a subclass's override of a class attribute.
        self.most_body = most_body
        """Bytes of content that a request may have; 0: none."""
        self.reads_body = most_body > 0
        """Whether the decision needs the whole request; otherwise it needs the head only."""

    @abstractmethod
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
        """Decide at once if everything is in memory, else return an awaitable."""

    @abstractmethod
    def outgoing(
        self, permit: Permit, head: RequestHead, fields: RequestFields, body: bytes, presenter: Presenter
    ) -> Outgoing | Answer | Awaitable[Outgoing | Answer]:
        """What is sent to the upstream, or the answer to a request that only asks for a decision. Raises `ValueError`
        if it cannot be made.
        """

    @abstractmethod
    def refusal(self, response: Response) -> Denial | None:
        """Why a response with this head is not passed on, whatever its content; None if it may be."""

    @abstractmethod
    def reads_answer(self, response: Response) -> bool:
        """Whether the content of a response with this head is read and checked."""

    @abstractmethod
    def judged(
        self, response: Response, body: bytes | None, presenter: Presenter
    ) -> Judgement | Awaitable[Judgement]:
        """What to do with a response. `body` is its whole content; None if it is longer than `MOST_ANSWER`."""

    @abstractmethod
    def notes(self) -> ClientNotes | None:
        """What is known of the client, and of the token issued to it, for the record."""


@mypyc_attr(allow_interpreted_subclasses=True)
class ServerEndpoints(ABC):
    """The endpoints of one configuration."""

    @abstractmethod
    def covers(self, target: bytes) -> bool:
        """Whether any interpretation of a request target, whatever its spelling, is an endpoint."""

    @abstractmethod
    def course(self, head: RequestHead) -> Course | Denial:
        """The `Course` of a request to an endpoint, or its denial."""
