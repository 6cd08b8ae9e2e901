"""Which interpreter the sidecar under test runs on."""

import sys
from pathlib import Path

import pytest

from bench import shipped


def test_interpreter_of_this_project_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PYTHON", sys.executable)
    assert shipped._interpreter() == sys.executable


@pytest.mark.parametrize("named", ["/bin/true", "/nowhere/python3", str(Path(__file__).parent)])
def test_named_interpreter_that_is_none_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    monkeypatch.setenv("BENCH_PYTHON", named)
    assert shipped.main() == 1
    assert f"BENCH_PYTHON={named}: not CPython 3.11 to 3.13" in capsys.readouterr().err
