"""The problems of a configuration and their places, all at once."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

_LIKE_A_SECRET: Final = re.compile("-----BEGIN |^eyJ")
"""PEM, or the beginning of a JWT."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error or warning at one place of one file."""

    file: str
    """The file as the user named it, or as the naming file led to it."""
    line: int
    """From 1; 0 when the problem is the file itself."""
    column: int
    """From 1; 0 when the problem is the file itself."""
    message: str
    """One plain sentence on one line; never a secret."""
    is_warning: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {'warning: ' if self.is_warning else ''}{self.message}"


class SettingsError(Exception):
    """The configuration is not usable; `problems` holds everything that is wrong with it, in order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def sanitize(text: str, limit: int = 80) -> str:
    """`text` fit for one line of a terminal: control characters escaped, and cut at `limit` characters."""
    printable = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    return printable if len(printable) <= limit else f"{printable[: limit - 1]}…"


def sanitize_place(text: str, limit: int = 80) -> str:
    """A path or URL as `sanitize` shows text, but cut in the middle: its end tells which file it is."""
    printable = sanitize(text, len(text) * 10 + 1)
    kept = (limit - 1) // 3
    return printable if len(printable) <= limit else f"{printable[:kept]}…{printable[kept + 1 - limit :]}"


def is_like_a_secret(value: str) -> bool:
    """Whether this may be what a file holds, and not its name or a setting."""
    return "\n" in value or _LIKE_A_SECRET.search(value) is not None


def shown(value: Any) -> str:
    """A value of the document as it may stand in a message."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str() if is_like_a_secret(value):
            return "text that is not shown"
        case str():
            return f"`{sanitize_place(value) if '/' in value else sanitize(value)}`"
        case _:
            return sanitize(str(value))
