"""Runs one target under atheris, coverage-guided, until it is stopped or something else than a refusal comes out."""

import importlib
import sys
from pathlib import Path


def run(file: str) -> None:
    """Fuzzes the target in `file`. Takes libFuzzer's options from the command line."""
    import atheris

    # What the script has imported is imported again, instrumented; the libraries behind it stay as they are.
    for name in [name for name in sys.modules if name.startswith(("sidecar", "tests.fuzz."))]:
        del sys.modules[name]
    with atheris.instrument_imports(include=["sidecar"]):
        module = importlib.import_module(f"tests.fuzz.{Path(file).stem}")
    atheris.Setup(sys.argv, module.target)
    atheris.Fuzz()
