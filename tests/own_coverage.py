"""Each file of `sidecar/decision` is covered, every branch of it, by its own tests alone.

Reads what `coverage run` recorded with `dynamic_context = test_function`: which test ran which branch. The tests of
`decision/x.py` are those in `tests/decision/test_x.py`; a package's are in `test_<package>.py` beneath it.
"""

import ast
import sys
from collections.abc import Sequence
from pathlib import Path

from coverage import Coverage
from coverage.exceptions import NoSource

ROOT = Path(__file__).parent.parent
DECISION = ROOT / "sidecar" / "decision"


def test_module(file: Path) -> str:
    """The name, with dots, of the test module of a file."""
    inside = file.relative_to(DECISION).with_suffix("")
    parts = list(inside.parts)
    if parts[-1] == "__init__":
        parts[-1] = file.parent.name
    return ".".join(["tests", "decision", *parts[:-1], f"test_{parts[-1]}"])


def is_plain(file: Path) -> bool:
    """Whether a file holds values and nothing that could go wrong: functions that only assign, and no branch. A test of
    its own would repeat the assignments; that every line runs is asked of all tests together.
    """
    functions = [
        node
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return all(
        function.name == "__init__"
        and all(isinstance(step, ast.Assign | ast.AnnAssign | ast.Expr) for step in function.body)
        for function in functions
    )


def misses(coverage: Coverage, file: Path) -> Sequence[str]:
    """Lines and branches of a file that its own tests did not run."""
    own = test_module(file).replace(".", r"\.")
    # What runs when the module is imported belongs to no test; what a contract suite runs, to whoever signs it.
    coverage.get_data().set_query_contexts(["^$", rf"^{own}\.", r"^tests\.contracts\."])
    analysis = coverage._analyze(str(file))
    lines = [f"line {line}" for line in sorted(analysis.missing)]
    branches = [
        f"branch {line} → {to}" for line, ends in analysis.missing_branch_arcs().items() for to in ends
    ]
    return lines or branches


def main() -> int:
    """Prints what is missing; 1 when anything is."""
    coverage = Coverage(data_file=sys.argv[1], config_file=str(ROOT / "pyproject.toml"))
    coverage.load()
    failed = 0
    for file in sorted(DECISION.rglob("*.py")):
        if not file.read_text().strip() or is_plain(file):
            continue
        try:
            missing = misses(coverage, file)
        except NoSource:
            missing = ["never run"]
        if missing:
            failed += 1
            print(f"{file.relative_to(ROOT)}: not covered by {test_module(file)}: {', '.join(missing)}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
