"""docs/troubleshooting.md has one entry for every reason, and each says who acts, how to see it, how to fix it."""

import pytest

from sidecar.decision.reason import Reason
from tests.docs.troubleshooting import MISSING, PAGE, PARTS, answer, entries, renewed

TEXT = PAGE.read_text("utf-8")
RUN = "run `make reference`: it renews docs/troubleshooting.md and puts in a skeleton for a new reason; fill that in"


def test_every_reason_has_its_entry_and_no_entry_is_of_a_reason_that_is_gone() -> None:
    assert list(entries(TEXT)) == [reason.value for reason in Reason], RUN


def test_what_is_generated_is_as_it_would_be_generated_now() -> None:
    assert renewed(TEXT) == TEXT, RUN


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_an_entry_says_who_acts_how_to_see_it_and_how_to_mend_it(reason: Reason) -> None:
    said = entries(TEXT).get(reason.value, {})
    empty = [part for part in PARTS if said.get(part, MISSING) == MISSING]
    assert empty == [], f"write {', '.join(empty)} of `{reason.value}` in docs/troubleshooting.md; {RUN}"


def test_a_new_reason_gets_a_skeleton_and_the_others_keep_their_words() -> None:
    first, second, *_ = Reason
    without = TEXT.replace(TEXT[TEXT.index(f"### `{first.value}`") : TEXT.index(f"### `{second.value}`")], "")
    made = renewed(without)
    assert entries(made)[first.value] == dict.fromkeys(PARTS, MISSING)
    assert entries(made)[second.value] == entries(TEXT)[second.value]
    assert answer(first) in made
