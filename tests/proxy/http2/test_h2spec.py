"""Every case of h2spec 2.6, asked through the sidecar: those it does not do as h2spec wants are named and explained.

The page docs/http2-conformance.md shows the result.
"""

from collections import Counter
from pathlib import Path

import pytest

from tests.proxy.http2.h2spec_frames import FRAMES
from tests.proxy.http2.h2spec_generic import GENERIC, HPACK
from tests.proxy.http2.h2spec_messages import MESSAGES
from tests.support.conversation import Conversation
from tests.support.h2spec import Case, holds

PAGE = Path(__file__).parents[3] / "docs" / "http2-conformance.md"
CASES = {case.number: case for case in (*GENERIC, *FRAMES, *MESSAGES, *HPACK)}

_CLOSED = (
    "ignored, nothing is made of it: RFC 9113 §5.1 leaves it to the server (RFC 7540 did not), "
    "for such a frame can have been on its way"
)
_PRIORITY = (
    "ignored, like all priorities of RFC 7540 "
    "(the sidecar says SETTINGS_NO_RFC7540_PRIORITIES, RFC 9218 §2.1.1), "
)
OTHERWISE = {
    "http2/5.1/8": _CLOSED,
    "http2/5.1/9": _CLOSED,
    "http2/5.1/11": _CLOSED,
    "http2/5.1/12": _CLOSED,
    "http2/5.1.1/2": "ignored: no request is made of it. RFC 9113 §5.1.1 wants a connection error; "
    "the sidecar remembers no closed streams, and cannot tell this one from them",
    "http2/5.3.1/2": _PRIORITY + "and RFC 9113 §5.3.2 has deprecated them",
}
"""What is done otherwise than h2spec wants, and why."""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_sidecar_does_what_the_case_wants(talk: Conversation, case: Case) -> None:
    assert holds(talk, case) is (case.number not in OTHERWISE)


@pytest.mark.parametrize("number", OTHERWISE)
def test_a_client_that_is_answered_otherwise_gets_nothing_by_it(talk: Conversation, number: str) -> None:
    """What its frames ask for beside the first request is nowhere decided about."""
    holds(talk, CASES[number])
    assert len(talk.gate.asked) <= 1
    assert len(talk.upstreams) <= 1


def test_all_cases_are_here() -> None:
    parts = Counter(number.partition("/")[0] for number in CASES)
    assert parts == {"generic": 44, "http2": 95, "hpack": 8}
    assert OTHERWISE.keys() <= CASES.keys()


def test_page_shows_the_result() -> None:
    rows = [f"| {number} | {CASES[number].title} | {why} |" for number, why in OTHERWISE.items()]
    rows.append(f"{len(CASES) - len(OTHERWISE)} of {len(CASES)} cases")
    page = PAGE.read_text("utf-8")
    assert [row for row in rows if row not in page] == [], "\n".join(rows)
