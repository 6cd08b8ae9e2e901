"""docs/dpop.md's table of the twelve checks: those that are made, their clauses, and tests that exist."""

import re
from pathlib import Path

from sidecar.decision.proof_header import CHECKS
from tests.e2e.test_fapi2_dpop import NEGATIVES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dpop.md").read_text("utf-8")
ROW = re.compile(r"^\| (`dpop\.[^|]*) \| (§[^|]*) \| [^|]+ \| ?([^|]*) \| ?([^|]*)\|$", re.MULTILINE)


def rows() -> list[tuple[list[str], str, list[str], list[str]]]:
    """Checks, clause, negatives, tests."""
    return [
        (
            re.findall(r"`([^`]+)`", checks),
            clause,
            re.findall(r"\*([^*]+)\*", negatives),
            re.findall(r"`(test_\w+)`", tests),
        )
        for checks, clause, negatives, tests in ROW.findall(PAGE)
    ]


def test_every_check_is_in_the_table_with_its_clause() -> None:
    told = {check: f"RFC 9449 {clause}" for checks, clause, _, _ in rows() for check in checks}
    made = {name: clause for name, clause, _ in CHECKS}
    assert told == {**made, "dpop.jti": "RFC 9449 §11.1"}


def test_table_has_the_twelve_checks_of_the_clause_in_its_order() -> None:
    numbers = [
        int(found[1]) for _, clause, _, _ in rows() if (found := re.fullmatch(r"§4\.3 \((\d+)\)", clause))
    ]
    assert numbers == list(range(1, 13))


def test_every_row_names_what_shows_it_and_every_name_exists() -> None:
    written = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for checks, _, negatives, tests in rows():
        assert negatives or tests, checks
        assert set(negatives) <= set(NEGATIVES), checks
    for name in re.findall(r"`(test_\w+)`", PAGE):
        assert f"def {name}(" in written, name


def test_negative_stands_beside_the_check_that_refuses_it() -> None:
    """By the reason: what refuses it is told by a check of that row."""
    reasons = {
        "dpop.field": {"proof_missing", "proof_repeated"},
        "dpop.jwt": {"proof_malformed"},
        "dpop.claims": {"proof_malformed"},
        "dpop.typ": {"proof_malformed"},
        "dpop.alg": {"proof_algorithm_refused"},
        "dpop.signature": {"proof_signature_invalid"},
        "dpop.jwk": {"proof_key_refused"},
        "dpop.htm": {"proof_method_mismatch"},
        "dpop.htu": {"proof_target_mismatch"},
        "dpop.iat": {"proof_expired", "proof_not_yet_valid"},
        "dpop.ath": {"proof_token_mismatch", "proof_key_mismatch"},
        "dpop.jti": {"proof_replayed"},
    }
    for checks, _, negatives, _ in rows():
        for name in negatives:
            assert NEGATIVES[name][1] in reasons[checks[0]], name
