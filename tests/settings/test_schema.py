"""The JSON Schema says what the models say: it takes every example and refuses the usual mistakes."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sidecar.settings.document import read
from sidecar.settings.reference import reference
from sidecar.settings.schema import MODELS, schema

CONFIG = Path(__file__).parents[2] / "config"
AJV = Path(__file__).parents[1] / "real" / "ajv_strict.mjs"
EXAMPLES = [
    ("service", CONFIG / "sidecar.yaml"),
    *(("policy", path) for path in sorted(CONFIG.glob("policies/*.yaml"))),
    *(("cases", path) for path in sorted(CONFIG.glob("cases/*.yaml"))),
]


@pytest.mark.parametrize("kind", MODELS)
def test_the_published_schema_is_in_step_with_the_models(kind: str) -> None:
    published = json.loads((CONFIG / "schema" / f"{kind}.json").read_text("utf-8"))
    assert published == schema(kind), "run: make reference"


@pytest.mark.parametrize("kind", MODELS)
def test_the_schema_is_one(kind: str) -> None:
    Draft202012Validator.check_schema(schema(kind))


@pytest.mark.parametrize(("kind", "path"), EXAMPLES, ids=[path.name for _, path in EXAMPLES])
def test_every_example_is_valid(kind: str, path: Path) -> None:
    Draft202012Validator(schema(kind)).validate(read(path).data)


def refusals(kind: str, data: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(schema(kind)).iter_errors(data)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"helth": {}}, "Additional properties are not allowed ('helth' was unexpected)"),
        ({"limits": {"headers": "many"}}, "'many' is not of type 'integer'"),
        ({"timeouts": {"idle": 75}}, "75 is not of type 'string'"),
        ({"timeouts": {"idle": "75"}}, "'75' does not match"),
        ({"logging": {"level": "warn"}}, "'warn' is not one of"),
        ({"upstream": None}, "None is not of type 'object'"),
        ({"workers": "many"}, "'many' is not valid under any of the given schemas"),
    ],
)
def test_the_schema_refuses_the_usual_mistakes(change: dict[str, Any], expected: str) -> None:
    data = read(CONFIG / "sidecar.yaml").data | change
    assert any(one.startswith(expected) for one in refusals("service", data)), refusals("service", data)


def test_a_claim_may_be_a_value_a_list_or_operators() -> None:
    def with_claim(value: Any) -> dict[str, Any]:
        return {"rules": [{"name": "a", "match": {}, "require": {"claims": {"c": value}}}]}

    for good in ("x", 3, True, ["a", "b"], {"contains": "x"}, {"at_least": 1}):
        assert refusals("policy", with_claim(good)) == []
    for bad in (None, [], {"eqals": 1}, {"at_least": "x"}, [[1]]):
        assert refusals("policy", with_claim(bad)) != []


def test_every_key_is_described_or_speaks_for_itself() -> None:
    for kind in MODELS:
        made = schema(kind)
        for name, part in {kind: made, **made["$defs"]}.items():
            assert part.get("description"), f"{kind}: {name} has no description"


def properties(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of a schema, wherever it is, with its path."""
    if isinstance(node, list):
        for one in node:
            yield from properties(one, path)
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "properties":
                for name, one in value.items():
                    yield f"{path}.{name}", one
                    yield from properties(one, f"{path}.{name}")
            else:
                yield from properties(value, f"{path}/{key}")


@pytest.mark.parametrize("kind", MODELS)
def test_every_property_is_described(kind: str) -> None:
    found = dict(properties(schema(kind)))
    assert len(found) > 20
    assert [path for path, one in found.items() if not one.get("description")] == []


def test_ajv_takes_the_schemas_in_its_strict_mode() -> None:
    """Editors validate with Ajv; in strict mode it refuses what other readers pass over."""
    files = [CONFIG / "schema" / f"{kind}.json" for kind in MODELS]
    done = subprocess.run(["node", AJV, *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, [path.name for path in files]), done.stderr


def test_the_order_of_choices_does_not_depend_on_what_was_imported_before() -> None:
    """`typing` remembers unions, and takes two `Literal`s for equal whose choices have another order."""
    program = (
        "from sidecar.injection.settings import Protocol; known = Protocol | None\n"
        "from sidecar.settings.case_sections import CaseRequest; print(CaseRequest.model_fields['protocol'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Literal['http/1.1', 'h2']" in done.stdout


def test_the_reference_page_is_in_step_with_the_schemas() -> None:
    page = (CONFIG.parent / "docs" / "reference.md").read_text("utf-8")
    assert page == reference(), "run: make reference"
    anchors = set(re.findall(r'<a id="([a-z-]+)">', page))
    assert set(re.findall(r"\]\(#([a-z-]+)\)", page)) == anchors
