"""What names a query carries. Values are never looked at."""

import re
from typing import Final

from sidecar.decision.escape import unescaped

ESCAPED_NAMES: Final = 64
"""How many different names with escapes a query may have: each is decoded by itself."""

# A name ends at the first `=`; that some readers see a separator in `;` makes two kinds of names.
_NAMES: Final = re.compile(r"(?:\A|(?<=&))[^&=]*")
_NAMES_BETWEEN_SEMICOLONS: Final = re.compile(r"(?:\A|(?<=[&;]))[^&;=]*")


class TooManyNames(ValueError):
    """A query takes more work than a request is worth. The message says what was expected."""


def names_in(query: str) -> frozenset[str]:
    """Every name that some reader could find in a query: `&` separates and, for some readers, so does `;`.

    Escapes are decoded as HTML forms have them (the URL standard §5.1): `%61` is `a`, `+` is a space. Raises
    `TooManyNames`.
    """
    query = query.replace("+", " ")
    names = set(_NAMES.findall(query))
    if ";" in query:
        names.update(_NAMES_BETWEEN_SEMICOLONS.findall(query))
    if "%" not in query:
        return frozenset(names)
    escaped = [name for name in names if "%" in name]
    if len(escaped) > ESCAPED_NAMES:
        raise TooManyNames(f"at most {ESCAPED_NAMES} different names with escapes in the query")
    names.difference_update(escaped)
    names.update([unescaped(name, "replace") for name in escaped])
    return frozenset(names)
