"""Our engine of HTTP/2 beside libnghttp2, on conversations and on spoilt ones, in both roles (`engine_run.py`).

A difference that `engine_table.py` does not explain fails. `case_of(seed)` makes the same case again.
"""

import pytest

from tests.differential.engine_cases import Case, case_of
from tests.differential.engine_run import Difference, differences_of
from tests.differential.engine_table import TABLE, Row, explanation_of
from tests.support.http2_frames import DATA, HEADERS, SETTINGS
from tests.support.lanes import WHOLE

PARTS = 4
CASES = 60_000 if WHOLE else 2400


def unexplained(case: Case) -> Difference | None:
    """The first difference that no row explains, if nothing that has consequences came before it."""
    for one in differences_of(case):
        row = explanation_of(one)
        if row is None:
            return one
        if not row.goes_on:
            break
    return None


@pytest.mark.parametrize("part", range(PARTS))
def test_every_difference_is_explained(part: int) -> None:
    for seed in range(part, CASES, PARTS):
        found = unexplained(case_of(seed))
        assert found is None, f"seed {seed}: {found}"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.why.split(":")[0][:60])
def test_every_explanation_has_a_case(row: Row) -> None:
    assert row in [explanation_of(one) for one in differences_of(case_of(row.seed))]


def test_cases_are_conversations() -> None:
    """Most have no difference and much to compare: heads, content, and settings of both roles."""
    kinds = [frame[3] for seed in range(200) for frame in case_of(seed).frames]
    assert min(kinds.count(kind) for kind in (HEADERS, DATA, SETTINGS)) > 200
    assert len({case_of(seed).frames for seed in range(200)}) == 200
    assert sum(not list(differences_of(case_of(seed))) for seed in range(200)) > 100


def test_a_difference_in_what_is_said_is_seen() -> None:
    """The comparison is not blind: an engine with another window for its streams gives back another one."""
    differing = [one for seed in range(40) for one in differences_of(case_of(seed), window=1000)]
    assert any(explanation_of(one) is None for one in differing)
