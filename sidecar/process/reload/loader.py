"""Reads the configuration in a process of its own, which ends when it is read.

Theory of operation: the YAML reader and the validator weigh some 20 MB, and a thousand rules take them part of a
second. A child process spends that memory and time instead of the serving process, and its event loop shares no lock
with it. The child sends a pickle of `Loaded`, or of what is wrong, through a pipe that only it
can write.
"""

import copyreg
import gc
import io
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sidecar.process.host.standing import kind_and_place
from sidecar.process.reload.overtaken import clock
from sidecar.settings.configuration import Loaded
from sidecar.settings.problem import Problem, SettingsError

WITHIN = 60.0
"""Time in which a configuration must be read, in seconds."""


_CHILD = "import sys; from sidecar.process.reload.loader import main; main(*sys.argv[1:])"


class Reading:
    """A configuration that is being read by a child process."""

    def __init__(self, path: Path, generation: int = 1, known: bytes = b"") -> None:
        """Begins at once; `known` is the `client_cache` of an earlier one. Raises OSError when no process can be
        started.
        """
        self._path = path
        self._known = known
        # -P: nothing is imported from the working directory (CPython 3.11).
        command = [sys.executable, "-P", "-c", _CHILD, str(path), str(generation)]
        # A process group of its own: the terminal's signals are for the parent, which ends it.
        self._child = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE if known else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            process_group=0,
        )

    def give_up(self) -> None:
        """Stop reading; `result` raises."""
        self._child.kill()

    def result(self) -> Loaded:
        """Wait for the configuration. Raises `SettingsError`."""
        try:
            said, _ = self._child.communicate(self._known or None, timeout=WITHIN)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
            raise self._failure(f"not read within {WITHIN:g} s") from None
        if self._child.returncode != 0:
            raise self._failure(f"reading it ended with {self._child.returncode}")
        result = unpickled(said)
        if isinstance(result, Loaded):
            return result
        raise SettingsError(result)

    def _failure(self, message: str) -> SettingsError:
        return SettingsError([Problem(str(self._path), 0, 0, message)])


def load_apart(path: Path, generation: int, known: bytes = b"") -> Loaded:
    """The configuration at `path`, its policy of `generation`. Blocks: call it in a thread. Raises `SettingsError`."""
    try:
        return Reading(path, generation, known).result()
    except OSError as error:
        raise SettingsError([Problem(str(path), 0, 0, f"no process to read it in: {error}")]) from None


def frozen(content: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    """What a pickled read-only mapping is made with again."""
    return MappingProxyType(content)


def _reduced(mapping: MappingProxyType[Any, Any]) -> tuple[Any, ...]:
    return frozen, (dict(mapping),)


def pickled(value: object) -> bytes:
    """A pickle of an object that may have read-only mappings, such as a configuration."""
    into = io.BytesIO()
    pickler = pickle.Pickler(into, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = copyreg.dispatch_table | {MappingProxyType: _reduced}
    pickler.dump(value)
    return into.getvalue()


def unpickled(data: bytes) -> Any:
    """What our own child, or our supervisor, pickled. The garbage collector waits meanwhile: everything that is made
    here stays, and looking through all of it again and again would stall the event loop.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return pickle.loads(data)  # noqa: S301 — from our own processes alone
    finally:
        if was_enabled:
            gc.enable()


def _read(path: Path, generation: int, known: bytes) -> "Loaded | tuple[Problem, ...]":
    from sidecar.settings.loading import load  # noqa: PLC0415 — what the parent must not import

    since = clock()
    try:
        loaded = load(path, known=unpickled(known) if known else {})
    except SettingsError as error:
        return error.problems
    except Exception as fault:  # noqa: BLE001 — it must not end in a traceback, which may quote a file
        where = kind_and_place(fault)
        return (Problem(str(path), 0, 0, f"reading it failed by a fault of the sidecar's: {where}"),)
    return replace(loaded, policy=replace(loaded.policy, generation=generation), read_since=since)


def main(path: str, generation: str) -> None:
    """The child. It ends soon, and nearly all that it makes it keeps: collecting garbage would find none."""
    gc.disable()
    said = pickled(_read(Path(path), int(generation), sys.stdin.buffer.read()))
    try:
        sys.stdout.buffer.write(said)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the parent is gone: there is nobody to tell
        os._exit(1)
