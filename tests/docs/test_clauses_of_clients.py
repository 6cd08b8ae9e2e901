"""The table of clauses of RFC 8705 §2 names tests that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "authorization-server.md"


def rows() -> list[str]:
    return re.findall(r"^\| (?:RFC \d+ )?§.*\| `(\S+)` \|$", PAGE.read_text("utf-8"), re.MULTILINE)


def test_each_clause_has_a_test() -> None:
    tests = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
    }
    missing = [one for one in rows() if one not in tests and not (ROOT / one).is_file()]
    assert missing == []
    assert len(rows()) >= 15
