"""A configuration as JSON that may be shown: files by name, secrets not at all."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

_SECRET = re.compile(
    r"secret|password|passphrase|private_key(?!_file)|credential(?!s_file)|api_key", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
HIDDEN = "(hidden)"


def shown(value: Any, name: str = "") -> Any:
    """`value` as JSON. `name` is the field that holds it: one that sounds like a secret is hidden, but a file's name
    is not its content.
    """
    match value:
        case Path():
            return str(value)
        case Enum():
            return value.value
        case str():
            return HIDDEN if _SECRET.search(name) and value else _USERINFO.sub("", value)
        case bytes():
            return HIDDEN
        case bool() | int() | float() | None:
            return value
        case Mapping():
            return {str(key): shown(one, str(key)) for key, one in value.items()}
        case AbstractSet():
            return sorted(str(shown(one)) for one in value)
        case list() | tuple():
            return [shown(one, name) for one in value]
        case _ if is_dataclass(value):
            shown_fields = {
                one.name: shown(getattr(value, one.name), one.name) for one in fields(value) if one.repr
            }
            return (
                {"kind": type(value).__name__, **shown_fields} if "kind" not in shown_fields else shown_fields
            )
        case _:
            return str(value)
