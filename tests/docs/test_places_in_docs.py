"""What the maintainers' pages name exists: files, folders, tests and links."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "docs" / "architecture.md",
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]
_CODE = re.compile(r"`((?:sidecar|tests|docs|config|bench)/[^`\s]*|[A-Za-z_]+\.(?:py|md|toml))`")
_LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
_TO_BE_WRITTEN = re.compile(r"NAME|sidecar/entry")
"""A recipe's own file, and the package that the first entry mode makes."""


def code(page: Path) -> list[str]:
    return [one for one in _CODE.findall(page.read_text("utf-8")) if not _TO_BE_WRITTEN.search(one)]


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_test_that_a_page_names_exists(page: Path) -> None:
    for place in code(page):
        name, _, test = place.partition("::")
        if "/" in name:
            assert (ROOT / name).exists(), place
        else:
            assert any(ROOT.glob(f"sidecar/**/{name}")) or (ROOT / name).exists(), place
        if test:
            names = {
                getattr(node, "name", "") for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8")))
            }
            assert test in names, place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text("utf-8")):
        if "://" in target:
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), f"{target}#{anchor}"


def test_every_threat_has_a_test() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    threats = text[text.index("## Threats") : text.index("## Dangerous options")]
    rows = [line for line in threats.splitlines() if line.startswith("| ") and "it tries to" not in line]
    assert len(rows) > 30
    assert [row for row in rows if "`tests/" not in row.rsplit("|", 2)[1]] == []
