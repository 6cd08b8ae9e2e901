"""The build that is tested: all processes of a test run the same one, and what mypyc cannot compile is not written."""

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import sidecar
from hatch_build import COMPILED
from sidecar.settings.configuration import Loaded

PACKAGE = Path(__file__).parents[1] / "sidecar"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
WHERE = "import sys; from importlib import import_module as i; print(*(i(m).__file__ for m in sys.argv[1:]))"


def modules() -> list[str]:
    """The compiled modules, by their dotted names."""
    parts = [Path("sidecar", name).with_suffix("").parts for name in COMPILED]
    return [".".join(part for part in one if part != "__init__") for one in parts]


def files() -> list[str]:
    return [str(import_module(name).__file__) for name in modules()]


def test_children_run_the_build_that_is_tested() -> None:
    """`sys.executable` with the environment of the tests, as every test starts the sidecar and its workers."""
    asked = [sys.executable, "-c", WHERE, *modules()]
    for command in (asked, [asked[0], "-P", *asked[1:]]):
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        assert told.stdout.split() == files()


def test_build_that_is_tested_is_the_one_that_was_asked_for() -> None:
    """`make test-compiled` sets TESTED_BUILD: sources that are found first would be tested in its place."""
    wanted = os.environ.get("TESTED_BUILD", "sources")
    endings = {Path(file).suffix for file in files()}
    assert endings == ({".so"} if wanted == "compiled" else {".py"}), sidecar.__file__


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """What is inside a function, less what is inside functions in it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, FUNCTIONS):
            yield child
            yield from own_nodes(child)


def twice_caught(source: str) -> list[str]:
    """Functions that have `except … as` twice with one name."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, FUNCTIONS):
            handlers = [one for one in own_nodes(function) if isinstance(one, ast.ExceptHandler)]
            names = Counter(one.name for one in handlers if one.name)
            found += [f"{getattr(function, 'name', '')}: {name}" for name, n in names.items() if n > 1]
    return found


TWICE = """
def named():
    try: work()
    except ValueError as error: pass
    except OSError as error: pass
async def apart():
    try: work()
    except ValueError as error: pass
    if True:
        try: work()
        except OSError as error: pass
def well():
    try: work()
    except ValueError as error: pass
    except OSError as other: pass
    def inner():
        try: work()
        except ValueError as error: pass
"""


def test_what_is_caught_twice_under_one_name_is_found() -> None:
    assert twice_caught(TWICE) == ["named: error", "apart: error"]


@pytest.mark.parametrize("name", COMPILED)
def test_no_compiled_function_catches_twice_under_one_name(name: str) -> None:
    """mypyc gives a variable the type of its first `except`: the second raises TypeError in place of its handler."""
    assert twice_caught((PACKAGE / name).read_text()) == []


_PURE = frozenset({"len", "min", "max", "end", "start"})
"""Calls that may be made twice: they change nothing."""


def called_in_bounds(source: str) -> list[str]:
    """Bounds of slices that call something, or assign, when they are evaluated."""
    bounds = [
        bound
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Slice)
        for bound in (node.lower, node.upper)
        if bound is not None
    ]
    return [ast.unparse(bound) for bound in bounds if any(map(_acts, ast.walk(bound)))]


def _acts(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return getattr(node.func, "attr", getattr(node.func, "id", "")) not in _PURE
    return isinstance(node, ast.NamedExpr | ast.Await)


def test_calls_in_the_bounds_of_a_slice_are_found() -> None:
    source = "rest = rest[write(rest) :]; a = b[: take()]; c = d[len(e) : f.end()]; g = h[next(i)]; j = k[(m := n) :]"
    assert called_in_bounds(source) == ["write(rest)", "take()", "(m := n)"]


@pytest.mark.parametrize("name", COMPILED)
def test_no_compiled_slice_calls_anything_in_its_bounds(name: str) -> None:
    """mypyc evaluates a bound twice where it does not know the type that is cut: what is called would act twice."""
    assert called_in_bounds((PACKAGE / name).read_text()) == []


def held_by(kind: object, seen: set[type]) -> set[type]:
    """The classes of ours whose instances an instance of `kind` may hold, by its fields and their annotations."""
    for one in get_args(kind):
        held_by(one, seen)
    if isinstance(kind, type) and kind.__module__.startswith("sidecar.") and kind not in seen:
        seen.add(kind)
        subclasses: list[type] = kind.__subclasses__()
        for each in subclasses:
            held_by(each, seen)
        if is_dataclass(kind):
            for hint in get_type_hints(kind).values():
                held_by(hint, seen)
    return seen


def test_what_a_configuration_holds_is_not_compiled() -> None:
    """It is pickled on its way from the process that reads it; a compiled class has no state that pickle could see."""
    kinds = {kind for kind in held_by(Loaded, set()) if is_dataclass(kind)}
    assert len(kinds) > 40
    assert [kind for kind in kinds if kind.__module__ in modules()] == []
