"""The shape of the package: nothing depends on itself by way of others, and a request's head has one maker.

Every import counts, under `TYPE_CHECKING` and inside a function too: a circle that is hidden from the interpreter is a
circle for whoever reads.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

Graph = Mapping[str, set[str]]


def module_name(file: Path) -> str:
    """The dotted name; a package's `__init__.py` is a module of its own: `sidecar.settings.__init__`."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


SOURCES = {module_name(file): ast.parse(file.read_text("utf-8")) for file in (ROOT / "sidecar").rglob("*.py")}


def resolved(dotted: str) -> str | None:
    """The module that holds `dotted`: itself, a package's `__init__`, or where the name of an object is defined."""
    for name in (dotted, f"{dotted}.__init__"):
        if name in SOURCES:
            return name
    return None


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module of the package that is imported anywhere in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found = resolved(f"{node.module}.{alias.name}") or resolved(node.module)
                if found:
                    yield found
        elif isinstance(node, ast.Import):
            yield from filter(None, (resolved(alias.name) for alias in node.names))


@cache
def files() -> Graph:
    """Which file imports which."""
    return {name: set(imported(tree)) - {name} for name, tree in SOURCES.items()}


def child(name: str, package: str) -> str | None:
    """The member of `package` that `name` is or lies in."""
    if not name.startswith(f"{package}."):
        return None
    return f"{package}.{name.removeprefix(f'{package}.').split('.')[0]}"


def members(package: str, graph: Graph) -> Graph:
    """Which member of a package, file or package in it taken as one, imports which."""
    found: dict[str, set[str]] = {}
    for name, targets in graph.items():
        here = child(name, package)
        if here:
            there = {child(target, package) for target in targets} - {None, here}
            found.setdefault(here, set()).update(filter(None, there))
    return found


def circle(graph: Graph) -> list[str]:
    """One circle, its first member repeated at the end; empty when there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph.get(name, ())):
            if found := visit(target, [*path, name]):
                return found
        done.add(name)
        return []

    return next(filter(None, (visit(name, []) for name in sorted(graph))), [])


PACKAGES = sorted({name.rpartition(".")[0] for name in SOURCES})


def test_no_file_imports_itself_by_way_of_others() -> None:
    assert circle(files()) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_members_of_a_package_form_no_circle(package: str) -> None:
    assert circle(members(package, files())) == []


@pytest.mark.parametrize(
    ("edges", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, ["a", "b", "c", "a"]),
        ({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
    ],
)
def test_a_circle_is_found_where_there_is_one(edges: Graph, found: list[str]) -> None:
    assert circle(edges) == found


def test_imports_for_types_and_inside_functions_count() -> None:
    tree = ast.parse(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from sidecar.decision.denial import Denial\n"
        "def late():\n    import sidecar.authorizer\n    from sidecar import settings\n"
    )
    assert set(imported(tree)) == {
        "sidecar.decision.denial",
        "sidecar.authorizer",
        "sidecar.settings.__init__",
    }


def calls(tree: ast.Module, name: str) -> Iterable[ast.Call]:
    """Calls of what is named `name`, however it was imported by that name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == name:
            yield node


def test_a_request_head_has_one_maker() -> None:
    makers = {name for name, tree in SOURCES.items() for _ in calls(tree, "RequestHead")}
    assert makers == {"sidecar.http.intake"}


def test_no_two_public_classes_have_one_name() -> None:
    found: dict[str, list[str]] = {}
    for name, tree in SOURCES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name)
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == {}


def docstrings() -> Iterator[tuple[str, str]]:
    """Every docstring and every text below an attribute."""
    for name, tree in SOURCES.items():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield f"{name}:{node.lineno}", node.value.value


def test_a_docstring_says_what_a_thing_is_and_not_what_it_is_of() -> None:
    assert [place for place, text in docstrings() if text.startswith("Of ")] == []


def test_every_package_says_what_is_in_it() -> None:
    assert [
        name for name, tree in SOURCES.items() if name.endswith(".__init__") and not ast.get_docstring(tree)
    ] == []
