"""Names with wildcards, against what an expression says, and without its backtracking."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.glob import Glob


def expression(text: str, separator: str) -> re.Pattern[str]:
    wild = {"**": ".+", "*": f"[^{re.escape(separator)}]+"}
    return re.compile(
        "".join(wild.get(piece) or re.escape(piece) for piece in re.split(r"(\*\*?)", text)), re.DOTALL
    )


@pytest.mark.parametrize(
    ("text", "fitting", "others"),
    [
        (
            "*.bank.example",
            ["a.bank.example"],
            ["a.b.bank.example", ".bank.example", "bank.example", "a.bank.examples"],
        ),
        ("**.bank.example", ["a.bank.example", "a.b.bank.example"], [".bank.example", "bank.example"]),
        ("**.**.bank.example", ["a.b.bank.example", "a.b.c.bank.example"], ["a.bank.example"]),
        ("web-*.*.example", ["web-1.a.example"], ["web-.a.example", "web-1.example", "web-1.a.b.example"]),
        ("a*b*c", ["axbxc", "abbbcc"], ["abc", "axb.xc", "axbx"]),
        ("***", ["ab", "a.b", "..a"], ["a", ""]),
        ("", [""], ["a"]),
    ],
)
def test_a_star_is_one_part_and_two_are_more(text: str, fitting: list[str], others: list[str]) -> None:
    glob = Glob(text, ".")
    assert [name for name in (*fitting, *others) if glob.fits(name)] == fitting


@given(st.text("ab./*", max_size=8), st.text("ab./\n", max_size=12), st.sampled_from("./"))
def test_any_pattern_fits_what_its_expression_fits(text: str, name: str, separator: str) -> None:
    assert Glob(text, separator).fits(name) == (expression(text, separator).fullmatch(name) is not None)


@pytest.mark.parametrize("text", ["**.**.bank.example", "**/ns/**/sa/x", "**a**a**a**b", "a*a*a*a*a*b"])
def test_work_grows_with_the_name_and_not_faster(text: str) -> None:
    glob, other = Glob(text, "."), Glob(text, "/")

    def opcodes(size: int) -> int:
        counted = 0

        def trace(frame: object, event: str, _argument: object) -> object:
            nonlocal counted
            frame.f_trace_opcodes = True  # type: ignore[attr-defined] # of every frame
            counted += event == "opcode"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)  # type: ignore[arg-type] # a trace function that returns itself
        try:
            assert not glob.fits("a." * (size // 2))
            assert not other.fits("a/ns/" * (size // 5))
        finally:
            sys.settrace(before)
        return counted

    assert opcodes(4000) < 2.2 * opcodes(2000)
