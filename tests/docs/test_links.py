"""Every link of every page leads somewhere: files, headings, pictures; addresses on the web are https."""

import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
]
_FENCE = re.compile(r"^(```+).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)(?: \"[^\"]*\")?\)|(?:src|srcset|href)=\"([^\"]+)\"")


def prose(page: Path) -> str:
    """The text without what is shown as code."""
    return _FENCE.sub("", page.read_text("utf-8"))


def links(page: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", lambda code: code[0] if "](" in code[0] else "`x`", prose(page))
    return [one[1] or one[2] for one in _LINK.finditer(text)]


@cache
def anchors(page: Path) -> set[str]:
    """Those of headings, as forges make them: repeated ones are numbered."""
    found: dict[str, int] = {}
    for title in re.findall(r"^#+ +(.*?) *$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
        if found[name]:
            found[f"{name}-{found[name]}"] = 0
    return set(found) | set(re.findall(r'<a id="([^"]+)">', prose(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            if parts.scheme not in {"https", "mailto"} or (parts.scheme == "https" and not parts.hostname):
                broken.append(link)
            continue
        there = (page.parent / parts.path).resolve() if parts.path else page
        if (
            not there.exists()
            or not there.is_relative_to(ROOT)
            or (parts.fragment and there.suffix == ".md" and parts.fragment not in anchors(there))
        ):
            broken.append(link)
    assert broken == []


def test_every_page_of_the_documentation_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        for link in links(page):
            there = (page.parent / urlsplit(link).path).resolve()
            if (
                not urlsplit(link).scheme
                and there.suffix == ".md"
                and there.exists()
                and there not in reached
            ):
                waiting.append(there)
    assert [page for page in PAGES if page not in reached and page.is_relative_to(ROOT / "docs")] == []


def test_links_are_found_at_all() -> None:
    assert sum(len(links(page)) for page in PAGES) > 150
