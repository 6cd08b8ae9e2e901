"""The inputs that are kept: `corpus/<target>/`, each named by its digest. The gate replays all of them.

An input is kept because it reached code that no other did, or because it once brought something else than a value or a
refusal. Each is small, so the whole is read in a moment.
"""

from hashlib import sha256
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parent / "corpus"
LONGEST = 4096
"""Bytes of an input that is kept for the code that it reached."""


def name_of(module: ModuleType) -> str:
    """`strict` for `tests.fuzz.fuzz_strict`."""
    return module.__name__.rpartition("_")[2]


def kept(module: ModuleType) -> list[bytes]:
    """The inputs of a target, in the order of their names."""
    return [file.read_bytes() for file in sorted((FOLDER / name_of(module)).glob("*"))]


def keep(module: ModuleType, data: bytes) -> Path:
    """Keeps an input."""
    file = FOLDER / name_of(module) / sha256(data).hexdigest()[:16]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file
