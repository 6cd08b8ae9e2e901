"""Values as YAML text: in blocks, on one line, one scalar."""

import io
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import LiteralScalarString

_PLAIN: Final = re.compile(r"[A-Za-z_/.][A-Za-z0-9_/.-]*")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})
STEP: Final = 2
"""Columns by which a block is indented."""


def block(value: Any, indent: int, offset: int = 0) -> str:
    """A mapping or list as lines of a block, without the last line break; `offset` indents the dashes of lists below
    a key.
    """
    writer = YAML(typ="rt", pure=True)
    writer.width = 2**16
    writer.indent(mapping=STEP, sequence=STEP + offset, offset=offset)
    stream = io.StringIO()
    writer.dump(laid_out({"-": value} if isinstance(value, list) else value), stream)
    lines = stream.getvalue().rstrip("\n").split("\n")
    if isinstance(value, list):
        lines = [line[offset:] for line in lines[1:]]
    return "\n".join(" " * indent + line if line else line for line in lines)


def laid_out(value: Any) -> Any:
    """Plain data in the form that the round-trip writer lays out in blocks, lines of text as lines."""
    if isinstance(value, Mapping):
        return CommentedMap((key, laid_out(one)) for key, one in value.items())
    if isinstance(value, list):
        return CommentedSeq(laid_out(one) for one in value)
    if isinstance(value, str) and "\n" in value:
        return LiteralScalarString(value)
    return value


def sequence_offset(text: str) -> int:
    """How far the text indents `- ` below the key it belongs to: 0 or 2."""
    found = re.search(
        r"^( *)(?:- )?[^\s#-][^\n]*:[ \t]*\n(?:[ \t]*(?:#[^\n]*)?\n)*( *)- ", text, re.MULTILINE
    )
    return 2 if found is not None and len(found[2]) > len(found[1]) else 0


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key, None)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(one) for one in value) + "]"
    return scalar(value, None)


def scalar(value: Any, style: str | None) -> str:
    """A scalar, in the quotes that stood there, where it is text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return json.dumps(value)
    if "\n" not in value and (style == "'" or (style is None and '"' in value and "'" not in value)):
        return "'" + value.replace("'", "''") + "'"
    if style != '"' and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
