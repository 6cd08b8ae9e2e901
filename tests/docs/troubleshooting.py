"""`python -m tests.docs.troubleshooting`: keeps docs/troubleshooting.md beside the closed list of reasons.

For each reason it writes the heading and what the answer says; what a reason without an entry needs is put in as a
skeleton, to be filled in by whoever adds the reason. `make reference` calls it.
"""

import re
from pathlib import Path
from typing import Final

from sidecar.decision.challenge import DESCRIPTIONS
from sidecar.decision.denial import shape
from sidecar.decision.reason import Reason

PAGE: Final = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
PARTS: Final = ("Acts", "See", "Fix")
MISSING: Final = "to be written"
_ENTRY: Final = re.compile(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_PART: Final = re.compile(r"^- \*\*(\w+)\*\*: (.+)$", re.MULTILINE)


def entries(text: str) -> dict[str, dict[str, str]]:
    """Reason → part → what the page says."""
    return {entry[1]: dict(_PART.findall(entry[2])) for entry in _ENTRY.finditer(text)}


def answer(reason: Reason) -> str:
    """What a client is told."""
    row = shape(reason)
    error = f" `{row.error.value}`" if row.error is not None else ""
    return f"{row.status}{error}: {DESCRIPTIONS[reason]}."


def entry(reason: Reason, parts: dict[str, str]) -> str:
    """The text of one entry."""
    said = "".join(f"- **{part}**: {parts.get(part, MISSING)}\n" for part in PARTS)
    return f"### `{reason.value}`\n{answer(reason)}\n\n{said}\n"


def renewed(text: str) -> str:
    """The page with an entry for each reason, in the order of the list; headings above entries stay where they are."""
    known = entries(text)
    beginning = text[: text.index("## Reasons")]
    said = "".join(entry(reason, known.get(reason.value, {})) for reason in Reason)
    return f"{beginning}## Reasons\n\n{said.rstrip()}\n"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
