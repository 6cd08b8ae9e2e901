"""Identity headers: claims of a token as header fields. No claim can end its field."""

import re
from collections.abc import Mapping
from typing import Final

_PRINTABLE: Final = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")


def identity_value(value: object) -> bytes | None:
    """A claim as a header value; None if it has none.

    Printable ASCII is used unchanged; other strings as an ext-value (RFC 8187 §3.2); a list of plain words as words
    separated by spaces; everything else as JSON in ASCII. Nothing in the result can end the field.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _text_value(value)
    if isinstance(value, list | tuple) and value and all(_is_word(item) for item in value):
        return " ".join(value).encode("ascii")
    from json import dumps  # noqa: PLC0415 — rare, and not on the hot path

    return dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def _is_word(item: object) -> bool:
    return isinstance(item, str) and item.isascii() and item.isprintable() and " " not in item and bool(item)


def _text_value(text: str) -> bytes | None:
    data = text.encode("utf-8", "backslashreplace")
    if not data:
        return None
    if _PRINTABLE.match(data) and not data.startswith(b"UTF-8''"):
        return data
    from urllib.parse import quote_from_bytes  # noqa: PLC0415 — rare, and not on the hot path

    return b"UTF-8''" + quote_from_bytes(data, safe="").encode("ascii")


def identity_block(claims: Mapping[str, object], names: Mapping[str, str]) -> bytes:
    """The identity headers of one token: `name: value CRLF` each; a claim that is absent has no header.

    `names` maps header to claim; a claim may be a path with dots (`realm_access.roles`).
    """
    lines = []
    for header, claim in names.items():
        value = identity_value(_claim(claims, claim))
        if value is not None:
            lines.append(b"%b: %b\r\n" % (header.encode("ascii"), value))
    return b"".join(lines)


def _claim(claims: Mapping[str, object], path: str) -> object:
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found
