"""An entry that only tells what was decided: its answer is the sidecar's own, and the upstream hears nothing.

The entry here is the smallest there can be: a gateway asks at `/decide` about a request that it names in two fields.
"""

import asyncio
from collections.abc import Awaitable

import pytest

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.permit import Permit
from sidecar.decision.request import Presenter, RequestHead
from sidecar.http.answer import Answer
from sidecar.http.fields import FieldRules, RequestFields
from sidecar.http.intake import request_head
from sidecar.http.message import Fault, Request, Response
from sidecar.proxy.exchange.endpoints import Course, Judgement, Outgoing, ServerEndpoints
from sidecar.proxy.exchange.snapshot import Authorizes
from sidecar.telemetry.record import ClientNotes
from tests.support.conversation import Conversation
from tests.support.deciding import Gate, Observed

Outcome = Permit | Denial
MAY_PASS = Answer(200, ((b"Content-Type", b"text/plain"),), b"may pass")


class AskedAbout(Course):
    """One question."""

    def __init__(self, authorizer: Authorizes, later: asyncio.Future[Answer] | None) -> None:
        super().__init__(0)
        self._authorizer = authorizer
        self._later = later

    def decide(
        self,
        head: RequestHead,
        request: Request,
        fields: RequestFields,
        body: bytes,
        *,
        presenter: Presenter,
        now: float,
    ) -> Outcome | Awaitable[Outcome]:
        asked = Request()
        named = dict(request.fields)
        asked.method, asked.target = named[b"X-Method"].decode(), named[b"X-Target"]
        asked.fields, asked.complete = [(b"Host", b"api")], True
        about = request_head(asked, RequestFields(), FieldRules(frozenset()))
        assert not isinstance(about, Fault)
        return self._authorizer.authorize(about, presenter, now)

    def outgoing(
        self, permit: Permit, head: RequestHead, fields: RequestFields, body: bytes, presenter: Presenter
    ) -> Outgoing | Answer | Awaitable[Outgoing | Answer]:
        return MAY_PASS if self._later is None else self._later

    def refusal(self, response: Response) -> Denial | None:
        raise AssertionError("nothing was asked of the upstream")

    def reads_answer(self, response: Response) -> bool:
        raise AssertionError("nothing was asked of the upstream")

    def judged(
        self, response: Response, body: bytes | None, presenter: Presenter
    ) -> Judgement | Awaitable[Judgement]:
        raise AssertionError("nothing was asked of the upstream")

    def notes(self) -> ClientNotes | None:
        return None


class Questions(ServerEndpoints):
    """All questions come to `/decide`."""

    def __init__(self, gate: Gate, _observed: Observed) -> None:
        self._gate = gate
        self.later: asyncio.Future[Answer] | None = None

    def covers(self, target: bytes) -> bool:
        return target == b"/decide"

    def course(self, head: RequestHead) -> Course | Denial:
        return AskedAbout(self._gate, self.later)


def question(target: bytes) -> bytes:
    return b"GET /decide HTTP/1.1\r\nHost: api\r\nX-Method: GET\r\nX-Target: %b\r\n\r\n" % target


def test_permitted_request_is_told_so_and_is_not_forwarded() -> None:
    with Conversation(endpoints=Questions) as talk:
        client = talk.client()
        client.says(question(b"/accounts/1"))
        assert client.answer().body == b"may pass"
        assert talk.outcomes == [("/decide", 200, "")]
        assert isinstance(talk.record.decision, Permit)
        assert [head.path for head in talk.gate.asked] == ["/accounts/1"]
        assert talk.record.bytes_out == len(b"may pass")
        assert talk.untouched


def test_denied_request_is_refused_as_it_would_be_by_the_data_plane() -> None:
    with Conversation(endpoints=Questions) as talk:
        talk.gate.refuse("/accounts/1", Reason.SCOPE_INSUFFICIENT)
        client = talk.client()
        client.says(question(b"/accounts/1"))
        asked = client.answer()
        client.says(b"GET /accounts/1 HTTP/1.1\r\nHost: api\r\n\r\n")
        sent = client.answer()
        assert (asked.status, asked.header("WWW-Authenticate")) == (403, sent.header("WWW-Authenticate"))
        assert [status for _, status, _ in talk.outcomes] == [403, 403]
        assert talk.untouched


def test_client_of_a_permitted_question_counts_as_one_that_was_permitted() -> None:
    with Conversation(endpoints=Questions) as talk:
        client = talk.client()
        client.says(question(b"/accounts/1"))
        client.answer()
        (connection,) = talk.server._connections
        assert connection.was_permitted


@pytest.mark.parametrize("fails", [False, True])
def test_answer_that_takes_time_comes_when_it_is_there_and_a_failure_is_never_a_pass(fails: bool) -> None:
    made: list[Questions] = []

    def questions(gate: Gate, observed: Observed) -> Questions:
        made.append(Questions(gate, observed))
        return made[0]

    with Conversation(endpoints=questions, expected_bugs=int(fails)) as talk:
        later = made[0].later = talk.loop.create_future()
        client = talk.client()
        client.says(question(b"/accounts/1"))
        assert client.hears() == b""
        if fails:
            later.set_exception(OSError("no"))
        else:
            later.set_result(MAY_PASS)
        talk.loop.settle()
        assert client.answer().status == (500 if fails else 200)
        assert talk.untouched


def test_answer_that_comes_after_its_client_has_left_goes_nowhere() -> None:
    made: list[Questions] = []

    def questions(gate: Gate, observed: Observed) -> Questions:
        made.append(Questions(gate, observed))
        return made[0]

    with Conversation(endpoints=questions) as talk:
        later = made[0].later = talk.loop.create_future()
        client = talk.client()
        client.says(question(b"/accounts/1"))
        client.leaves()
        later.set_result(MAY_PASS)
        talk.loop.settle()
        assert talk.record.status == 0
        assert talk.untouched
