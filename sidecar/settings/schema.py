"""JSON Schema (2020-12) of the settings files, from the models that validate them."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from sidecar.settings.case_sections import CaseFile
from sidecar.settings.client_sections import ClientsFile
from sidecar.settings.operation_sections import ServiceFile
from sidecar.settings.rule_sections import PolicyFile
from sidecar.settings.section import Section

MODELS: Final[dict[str, type[Section]]] = {
    "service": ServiceFile,
    "policy": PolicyFile,
    "clients": ClientsFile,
    "cases": CaseFile,
}
"""The kinds of file, by the name that `sidecar schema` knows."""

_BOUNDS_OF_LISTS: Final = ("minItems", "maxItems", "uniqueItems")
"""Where one value may stand for a list of one, these belong to the list."""


def schema(kind: str) -> dict[str, Any]:
    """The schema of one kind of file; raises `KeyError` for an unknown kind."""
    model = MODELS[kind]
    made = model.model_json_schema(mode="validation")
    described = {one.__name__: descriptions(one) for one in _sections(model)}
    for name, part in {model.__name__: made, **made.get("$defs", {})}.items():
        for field, text in described.get(name, {}).items():
            part["properties"][field].setdefault("description", text)
    tidy = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_tidied(made)}
    _describe_sections(tidy)
    return tidy


def _describe_sections(document: dict[str, Any]) -> None:
    """A key without a description whose value is a section gets the description of the section."""
    parts: dict[str, Any] = document.get("$defs", {})
    for part in (document, *parts.values()):
        for property_ in part.get("properties", {}).values():
            if "description" not in property_:
                section = next(_references(property_), None)
                if section is not None and "description" in parts[section]:
                    property_["description"] = parts[section]["description"]


def _references(node: Any) -> Iterator[str]:
    """Names of the definitions that a schema refers to."""
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _references(one)
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        yield node["$ref"].rpartition("/")[2]


def _sections(model: type[Section]) -> list[type[Section]]:
    found: list[type[Section]] = [model]
    for one in found:
        found.extend(inner for inner in one.inner_sections() if inner not in found)
    return found


def descriptions(model: type[Section]) -> dict[str, str]:
    """The text below each field in the source of the model, or of the section that it inherits the field from."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, Section) and one is not Section:
            found |= _own_descriptions(one)
    return found


def _own_descriptions(model: type[Section]) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    found: dict[str, str] = {}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for field, text in pairwise(statements):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(description))),
            ):
                found[name] = inspect.cleandoc(description)
            case _:
                pass
    return found


def _tidied(node: Any) -> Any:
    """Without `null` (a key is given a value or left out) and without the models' own titles and defaults."""
    if isinstance(node, list):
        return [_tidied(one) for one in node]
    if not isinstance(node, dict):
        return node
    tidy = {
        key: {name: _tidied(one) for name, one in value.items()} if key == "properties" else _tidied(value)
        for key, value in node.items()
        if key not in {"title", "default"}
    }
    options = tidy.get("anyOf")
    if isinstance(options, list):
        options = [one for one in options if one != {"type": "null"}]
        tidy.pop("anyOf")
        if len(options) == 1:
            return options[0] | tidy
        bounds = {key: tidy.pop(key) for key in _BOUNDS_OF_LISTS if key in tidy}
        return {**tidy, "anyOf": [one | bounds if one.get("type") == "array" else one for one in options]}
    return tidy
