"""Path templates: `/accounts/{id}/**`, `/users/{id}:suspend`, `/reports/{name}.json`."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from sidecar.decision.path import ASTERISK, segments

_CAPTURE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}([^{}*]*)")
_SPECIAL = re.compile(r"[{}*]")


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    literals: tuple[str | None, ...]
    """One a segment, decoded; None where any segment fits that is not empty."""
    captures: tuple[tuple[str, int], ...]
    """Name and position of what is captured."""
    takes_rest: bool
    """Ends in `**`: whatever follows, nothing included."""
    suffixes: tuple[tuple[int, str], ...] = ()
    """Position of a capture and what, decoded, must stand behind it in its segment."""

    def suffix(self, at: int) -> str:
        """What must stand behind the capture of segment `at`; empty when nothing must."""
        return dict(self.suffixes).get(at, "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses a template; raises `ValueError` with the reason."""
        if text == "*":
            return cls((ASTERISK,), (), takes_rest=False)
        if not text.startswith("/"):
            raise ValueError("a path begins with /")
        parts = text[1:].split("/")
        takes_rest = parts[-1] == "**"
        if takes_rest:
            parts.pop()
        captures = tuple(
            (found[1], at) for at, part in enumerate(parts) if (found := _CAPTURE.fullmatch(part))
        )
        if len(dict(captures)) != len(captures):
            raise ValueError("a name is captured twice")
        suffixes = tuple(
            (at, _text(found[2]))
            for at, part in enumerate(parts)
            if (found := _CAPTURE.fullmatch(part)) and found[2]
        )
        return cls(tuple(map(_literal, parts)), captures, takes_rest, suffixes)


def _literal(part: str) -> str | None:
    if part == "*" or _CAPTURE.fullmatch(part):
        return None
    if part == "**":
        raise ValueError("** stands only at the end")
    if _SPECIAL.search(part):
        raise ValueError(
            f"a wildcard is a whole segment, and a capture begins one ({{id}}:go), unlike {part!r}"
        )
    return _text(part)


def _text(part: str) -> str:
    """A segment or the end of one, decoded."""
    if part.isascii():
        _, ambiguities = segments("/" + part)
        never_matches = ambiguities & {
            "dot_segment",
            "control_character",
            "invalid_escape",
            "invalid_utf8",
            "fragment",
        }
        if never_matches:
            raise ValueError(f"{part!r} never matches: {', '.join(sorted(never_matches))}")
    return unquote(part)
