"""The page that lists the checks is held against the code that makes them."""

import json
from pathlib import Path

from sidecar.decision.path import ALLOWABLE, NEVER

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "checks.md").read_text()


def test_page_names_every_kind_of_ambiguity_that_a_rule_may_allow() -> None:
    table = {line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")}
    assert table == set(ALLOWABLE)
    assert not any(f"`{kind}`" in PAGE for kind in NEVER)


def test_page_names_the_rfc_of_every_clause_that_is_answered_for() -> None:
    clauses = json.loads((ROOT / "tests" / "vectors" / "clauses.json").read_text())
    for clause in clauses:
        rfc = " ".join(clause["clause"].split()[:2])
        assert rfc in PAGE, rfc
