"""Looks for inputs that reach code which no kept input reaches: `make fuzz TIME=60` (seconds, for each target).

Theory of operation. An input is run with a tracer that notes each step from one line of the sidecar's code to another.
One that makes a new step is kept and mutated further; one that makes something else come out than the target allows is
kept, reported, and ends the target's turn. atheris does the same faster where it is installed: `python
tests/fuzz/fuzz_strict.py`. This needs nothing but the interpreter.
"""

import importlib
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import sidecar
from tests.fuzz.corpus import LONGEST, keep, kept, name_of

_PACKAGE = str(Path(sidecar.__file__).parent) + os.sep
Step = tuple[str, int, int]
"""A file, and the two lines between which it went."""


def steps_of(target: Callable[[bytes], None], data: bytes) -> set[Step]:
    """The steps that one input makes; raises what the target raises."""
    seen: set[Step] = set()

    def local(previous: int) -> Callable[[FrameType, str, Any], Any]:
        def trace(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal previous
            if event == "line":
                seen.add((frame.f_code.co_filename, previous, frame.f_lineno))
                previous = frame.f_lineno
            return trace

        return trace

    def trace_call(frame: FrameType, _event: str, _argument: Any) -> Any:
        return local(frame.f_lineno) if frame.f_code.co_filename.startswith(_PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(trace_call)
    try:
        target(data)
    finally:
        sys.settrace(before)
    return seen


def mutated(inputs: Sequence[bytes], chance: random.Random) -> bytes:
    """One input, or two of them spliced, with a few bytes changed, removed, repeated or taken from another."""
    data = bytearray(chance.choice(inputs))
    other = chance.choice(inputs)
    for _ in range(chance.randint(1, 4)):
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.choice((0, 1, 2, 8, 64)))
        piece = chance.randint(0, len(other))
        data[start:end] = chance.choice((
            b"", bytes(data[start:end]) * 2, other[piece : piece + chance.choice((1, 4, 16, 256))],
            bytes([chance.randrange(256)]), chance.choice((b"\x00", b"\xff", b"-1", b"{}", b"[", b'"', b"\\u0000")),
        ))  # fmt: skip
    return bytes(data[:LONGEST])


def explored(module: ModuleType, seconds: float, chance: random.Random) -> bool:
    """Whether nothing but values and refusals came out of a target in so many seconds."""
    inputs = [*module.SEEDS, *kept(module)]
    known: set[Step] = set()
    for data in inputs:
        known |= steps_of(module.target, data)
    end, tried, found = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        data, tried = mutated(inputs, chance), tried + 1
        try:
            fresh = steps_of(module.target, data) - known
        except Exception:
            traceback.print_exc()
            print(
                f"{name_of(module)}: neither a value nor a refusal; the input is kept in {keep(module, data)}"
            )
            return False
        if fresh:
            known |= fresh
            inputs.append(data)
            found += 1
            keep(module, data)
    print(f"{name_of(module)}: {tried} inputs, {found} of them new, {len(known)} steps known")
    return True


def main(words: Sequence[str]) -> int:
    """`SECONDS [TARGET…]`; 0 when nothing was found that should not be."""
    seconds, names = float(words[0]), words[1:]
    files = sorted(Path(__file__).parent.glob("fuzz_*.py"))
    modules = [importlib.import_module(f"tests.fuzz.{file.stem}") for file in files]
    chosen = [module for module in modules if not names or name_of(module) in names]
    chance = random.Random()
    sound = [explored(module, seconds, chance) for module in chosen]
    return 0 if all(sound) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
