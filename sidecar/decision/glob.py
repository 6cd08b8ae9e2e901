"""Names with wildcards: `*` for one part, `**` for one part and more. A match costs in proportion to the name's length.

Theory of operation. A regular expression backtracks: with two `**` it takes time in proportion to the square of the
name's length, and the name is the client's. So only patterns that cannot backtrack far are expressions. All others are
walked with every state that they can be in at once, one bit a state: reading a character moves the bits (Baeza-Yates
and Gonnet, "A New Approach to Text Searching", 1992).
"""

import re
from typing import Final

_WILDCARD: Final = re.compile(r"(\*\*?)")


class Glob:
    """A pattern, compiled."""

    __slots__ = ("_expression", "_steps", "_wild")

    def __init__(self, text: str, separator: str) -> None:
        """`*` does not reach across `separator`, a single character."""
        pieces = _WILDCARD.split(text)
        self._expression = _expression(pieces, separator) if _is_simple(pieces, separator) else None
        part, rest = 0, 0
        """The positions of `*` and `**`; each takes one character, then stays for more."""
        literals: dict[str, int] = {}
        at = 1
        for piece in pieces:
            if piece == "*":
                part |= at
                at <<= 1
            elif piece == "**":
                rest |= at
                at <<= 1
            else:
                for char in piece:
                    literals[char] = literals.get(char, 0) | at
                    at <<= 1
        self._wild = (part | rest, (part | rest) << 1, at)
        self._steps = {char: (mask | part | rest, (part | rest) << 1) for char, mask in literals.items()}
        self._steps[separator] = (literals.get(separator, 0) | rest, rest << 1)

    def fits(self, name: str) -> bool:
        """Whether the whole of `name` is as the pattern says."""
        if self._expression is not None:
            return self._expression.fullmatch(name) is not None
        takes, stays, last = self._wild
        other, steps, states = (takes, stays), self._steps, 1
        for char in name:
            takes, stays = steps.get(char, other)
            states = (states & takes) << 1 | (states & stays)
        return states & last != 0


def _is_simple(pieces: list[str], separator: str) -> bool:
    """Whether an expression backtracks over one wildcard at most: one `**`, and each `*` a part by itself."""
    if pieces.count("**") > 1:
        return False
    for at in range(1, len(pieces), 2):
        before, after = pieces[at - 1], pieces[at + 1]
        is_part = before[-1:] in ("", separator) and after[:1] in ("", separator)
        if pieces[at] == "*" and not (is_part and (before or at == 1) and (after or at == len(pieces) - 2)):
            return False
    return True


def _expression(pieces: list[str], separator: str) -> re.Pattern[str]:
    wild = {"**": ".+", "*": f"[^{re.escape(separator)}]+"}
    return re.compile("".join(wild.get(piece) or re.escape(piece) for piece in pieces), re.DOTALL)
