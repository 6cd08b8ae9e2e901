"""What an exchange knows of requests to an authorization server's endpoints: they are read whole before anybody
decides, and their answers may be read whole before they go on.

The interface that `entry` fulfils, owned by its user. One `Course` is made for each request to an endpoint; the
exchange drives it: `decide`, then `outgoing`, then `judged`.
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
"""Bytes of an answer that is read whole."""


class Outgoing:
    """What the upstream gets in place of what came."""

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
        """All of the content."""
        self.lines = lines
        """Field lines that the sidecar says, each with its line end."""
        self.dropped = dropped
        """Names, in lower case, of fields of the client that do not go on."""
        self.authorization = authorization
        """Whether the client's own `Authorization` goes on."""
        self.host = host
        """Empty: the client's own."""


class AnswerReplaced:
    """Other content for an answer."""

    __slots__ = ("body",)

    def __init__(self, body: bytes) -> None:
        self.body = body


class AnswerRefused:
    """The answer does not go on."""

    __slots__ = ("denial", "errands")

    def __init__(self, denial: Denial, errands: tuple[Outgoing, ...] = ()) -> None:
        self.denial = denial
        self.errands = errands
        """Forms that are posted to the upstream, so that what it answered becomes worthless: revocations."""


Judgement = AnswerRefused | AnswerReplaced | None
"""None: the answer goes on as it came."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Course(ABC):
    """One request to an endpoint."""

    def __init__(self, most_body: int) -> None:
        # Set here and not by the class: compiled, an attribute that a subclass's class overrides is not seen.
        self.most_body = most_body
        """Bytes of content that a request may have; 0: none."""
        self.reads_body = most_body > 0
        """Whether it is decided about the whole request; else about its head."""

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
        """At once when all is in memory, else later."""

    @abstractmethod
    def outgoing(
        self, permit: Permit, head: RequestHead, fields: RequestFields, body: bytes, presenter: Presenter
    ) -> Outgoing | Answer | Awaitable[Outgoing | Answer]:
        """What goes to the upstream, or the answer to a request that was only asked about; raises `ValueError` when it
        cannot be made.
        """

    @abstractmethod
    def refusal(self, response: Response) -> Denial | None:
        """Why an answer with this head does not go on, whatever its content is."""

    @abstractmethod
    def reads_answer(self, response: Response) -> bool:
        """Whether an answer with this head is judged."""

    @abstractmethod
    def judged(
        self, response: Response, body: bytes | None, presenter: Presenter
    ) -> Judgement | Awaitable[Judgement]:
        """What becomes of an answer. `body` is all of its content; None: it is longer than `MOST_ANSWER`."""

    @abstractmethod
    def notes(self) -> ClientNotes | None:
        """What is known of the client, and of what was issued to it, for the record."""


@mypyc_attr(allow_interpreted_subclasses=True)
class ServerEndpoints(ABC):
    """The endpoints of one configuration."""

    @abstractmethod
    def covers(self, target: bytes) -> bool:
        """Whether a request target may mean an endpoint to some reader, whatever its spelling."""

    @abstractmethod
    def course(self, head: RequestHead) -> Course | Denial:
        """The `Course` of a request to an endpoint, or its denial."""
