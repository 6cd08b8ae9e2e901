"""Runs one target under atheris, coverage-guided, until it is stopped or something else than a refusal comes out."""

import importlib
import sys
import tempfile
from pathlib import Path

from tests.fuzz.corpus import kept


def run(file: str) -> None:
    """Fuzzes the target in `file`, from its seeds on. Takes libFuzzer's options from the command line."""
    import atheris

    # What the script has imported is imported again, instrumented; the libraries behind it stay as they are.
    for name in [name for name in sys.modules if name.startswith(("sidecar", "tests.fuzz."))]:
        del sys.modules[name]
    with atheris.instrument_imports(include=["sidecar"]):
        module = importlib.import_module(f"tests.fuzz.{Path(file).stem}")
    corpus = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for number, seed in enumerate([*module.SEEDS, *kept(module)]):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([*sys.argv, str(corpus)], module.target)
    atheris.Fuzz()
