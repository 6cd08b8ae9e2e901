"""A file of header fields that an authorization server wants from a proxy that it trusts; secrets among them."""

import re
from typing import Final

from sidecar.http.message import Field

MOST: Final = 16
"""Fields of one file."""
_LINE: Final = re.compile(
    rb"([A-Za-z][A-Za-z0-9-]{0,63}):[ \t]*([\x21-\x7e](?:[\x20-\x7e]{0,4094}[\x21-\x7e])?)[ \t]*"
)


def parse_extra_headers(content: bytes) -> tuple[Field, ...]:
    """The fields, in order. Empty lines and those that begin with `#` say nothing. Raises `ValueError`, which names the
    line and quotes nothing.
    """
    found: dict[bytes, Field] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        parsed = _LINE.fullmatch(line)
        if parsed is None:
            raise ValueError(f"line {number}: expected `Name: value` in printable ASCII")
        name, value = parsed.groups()
        if name.lower() in found:
            raise ValueError(f"line {number}: a field that is there already")
        found[name.lower()] = (name, value)
    if not found:
        raise ValueError("no field")
    if len(found) > MOST:
        raise ValueError(f"more than {MOST} fields")
    return tuple(found.values())
