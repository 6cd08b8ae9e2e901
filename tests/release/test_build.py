"""What `pip install` makes of the sources, and how one is told which build runs."""

import os
import platform
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.build import get_requires_for_build_wheel

import hatch_build
from sidecar.command.cli import main
from sidecar.process.host import build

ROOT = Path(__file__).parents[2]


def wheel(folder: Path, **environment: str) -> list[str]:
    """Names in the wheel that hatchling makes of this tree."""
    settings = {name: value for name, value in os.environ.items() if name != "SIDECAR_COMPILE"}
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT, check=False, capture_output=True, text=True, env={**settings, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    assert made.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(made) as opened:
        return opened.namelist()


@pytest.mark.parametrize("setting", [{"SIDECAR_COMPILE": "0"}, {"CC": "no-such-compiler"}], ids=str)
def test_without_a_compiler_or_if_asked_the_wheel_is_pure(setting: dict[str, str], tmp_path: Path) -> None:
    names = wheel(tmp_path, **setting)
    assert "sidecar/authorizer.py" in names
    assert [name for name in names if name.endswith(".so")] == []


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"SIDECAR_COMPILE": "1", "CC": "no-such-compiler"}, True),
        ({"SIDECAR_COMPILE": "0", "CC": "sh"}, False),
        ({"CC": "no-such-compiler"}, False),
        ({"CC": "sh -O2"}, True),
    ],
    ids=str,
)
def test_it_compiles_where_it_can_and_where_it_must(
    setting: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "Python.h").touch()
    monkeypatch.delenv("SIDECAR_COMPILE", raising=False)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    assert hatch_build._is_wanted() is expected


def test_without_pythons_headers_it_does_not_try(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SIDECAR_COMPILE", raising=False)
    monkeypatch.setenv("CC", "sh")
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    assert hatch_build._is_wanted() is False


@pytest.mark.parametrize(
    ("setting", "needed"),
    [
        ({"CC": "sh"}, {"mypy", "setuptools"}),
        ({"SIDECAR_COMPILE": "0"}, set()),
        ({"CC": "no-such-compiler"}, set()),
    ],
    ids=["a compiler", "not wanted", "no compiler"],
)
def test_an_installer_is_told_what_compiling_needs(
    setting: dict[str, str], needed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("SIDECAR_COMPILE", raising=False)
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    asked = {re.split(r"[<>=]", one)[0] for one in get_requires_for_build_wheel()}
    assert asked & {"mypy", "setuptools"} == needed


def test_the_version_says_which_build_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    compiled = os.environ.get("TESTED_BUILD") == "compiled"
    assert ("(compiled" in said, "(interpreted: for trying out" in said) == (compiled, not compiled)
    assert f"Python {platform.python_version()}" in said
    assert build.is_compiled() == compiled
