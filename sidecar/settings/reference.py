"""The reference page of the settings files, from their schemas: what `docs/reference.md` holds."""

from collections.abc import Iterator
from typing import Any, Final

from sidecar.settings.scalars import ADDRESS_PATTERN, DATE_PATTERN, DURATION_PATTERN, SIZE_PATTERN
from sidecar.settings.schema import schema

_TITLES: Final = {
    "service": "The service file (`--config`)",
    "policy": "Policy files (`policy_files`)",
    "clients": "Files of clients (`authorization_server.client_files`)",
    "cases": "Case files (`sidecar test`)",
}
_ABOUT: Final = (
    "Generated from the schemas (`make reference`): every key of every file, what it takes, and its default."
    " The guides say when to use which."
)
_FORMS: Final = {
    DURATION_PATTERN: "duration",
    SIZE_PATTERN: "size",
    DATE_PATTERN: "date",
    ADDRESS_PATTERN: "host:port",
}


def reference() -> str:
    """The page, in Markdown."""
    parts = ["# Reference of all settings", _ABOUT]
    for kind, title in _TITLES.items():
        parts += [f"## {title}", *_sections(kind, schema(kind))]
    return "\n\n".join(parts) + "\n"


def _sections(kind: str, document: dict[str, Any]) -> Iterator[str]:
    """The file's own table, then those of its sections, in the order in which they occur."""
    definitions: dict[str, Any] = document.get("$defs", {})
    waiting, seen = [document], {id(document)}
    while waiting:
        part = waiting.pop(0)
        if part is not document:
            name = next(name for name, one in definitions.items() if one is part)
            yield f'### <a id="{_anchor(kind, name)}"></a>{_title(name)}'
        if "description" in part:
            yield str(part["description"]).replace("\n", " ")
        required = set(part.get("required", ()))
        rows = [
            f"| `{key}` | {_form(kind, value)} | {_meaning(value, is_required=key in required)} |"
            for key, value in part.get("properties", {}).items()
        ]
        yield "\n".join(["| key | takes | meaning |", "|---|---|---|", *rows])
        for name in _named(part.get("properties", {})):
            found = definitions[name]
            if id(found) not in seen and "properties" in found:
                seen.add(id(found))
                waiting.append(found)


def _form(kind: str, value: dict[str, Any]) -> str:
    """The type of a key's value, in a word or two."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{_title(name)}](#{_anchor(kind, name)})"
    if "enum" in value or "const" in value:
        options = value.get("enum", [value.get("const")])
        return ", ".join(f"`{one}`" for one in options) if len(options) <= 8 else "a name of a closed list"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_form(kind, one) for one in value["anyOf"]))
    if value.get("type") == "array":
        return f"list of {_form(kind, value.get('items', {}))}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"name → {_form(kind, inner)}" if isinstance(inner, dict) else "mapping"
    words = {"string": "text", "integer": "number", "number": "number", "boolean": "`true`, `false`"}
    return _FORMS.get(value.get("pattern", ""), words.get(str(value.get("type")), "any value"))


def _meaning(value: dict[str, Any], *, is_required: bool) -> str:
    text = str(value.get("description", "")).replace("\n", " ").replace("|", "\\|")
    return f"**Required.** {text}" if is_required else text


def _named(node: Any) -> Iterator[str]:
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        yield node["$ref"].rpartition("/")[2]
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _named(one)


def _title(name: str) -> str:
    return name.removesuffix("Section")


def _anchor(kind: str, name: str) -> str:
    return f"{kind}-{_title(name).lower()}"
