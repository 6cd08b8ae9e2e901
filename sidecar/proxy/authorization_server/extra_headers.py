"""Parses the file of header fields, possibly with secrets, that an authorization server requires from a trusted
proxy.
"""

import re
from typing import Final

from sidecar.http.message import Field

MOST: Final = 16
"""Maximum number of fields in a file."""
_LINE: Final = re.compile(
    rb"([A-Za-z][A-Za-z0-9-]{0,63}):[ \t]*([\x21-\x7e](?:[\x20-\x7e]{0,4094}[\x21-\x7e])?)[ \t]*"
)


def parse_extra_headers(content: bytes) -> tuple[Field, ...]:
    """The fields, in order. Empty lines and lines that begin with `#` are ignored. Raises `ValueError`, which names
    the line and quotes nothing.
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
