"""What the commands share of the terminal: colours, progress, and how this program is called."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final, TextIO

GREEN: Final = "32"
RED: Final = "31"
YELLOW: Final = "33"
BOLD: Final = "1"


def takes_colour(stream: TextIO) -> bool:
    """Whether colours may be written: a terminal, no `NO_COLOR` (https://no-color.org) and no `TERM=dumb`."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, colour: str, stream: TextIO) -> str:
    """`text` in a colour of ECMA-48 (SGR), where `stream` takes colours."""
    return f"\x1b[{colour}m{text}\x1b[0m" if takes_colour(stream) else text


class Progress:
    """One line on a terminal that says what is being done; nothing at all elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_shown = stream.isatty() and os.environ.get("TERM") != "dumb"

    def tell(self, text: str) -> None:
        """Replace the line."""
        if self._is_shown:
            print(f"\r\x1b[K{text}", end="", file=self._stream, flush=True)

    def end(self) -> None:
        """Remove the line."""
        if self._is_shown:
            print("\r\x1b[K", end="", file=self._stream, flush=True)


def invocation(*, anywhere: bool = True) -> str:
    """How a shell calls this very program: a new one, in any folder; else one with the `PATH` of this one."""
    script = Path(sys.executable).with_name("sidecar")
    if not script.is_file():
        return f"{shlex.quote(sys.executable)} -m sidecar"
    if not anywhere and shutil.which("sidecar") == str(script):
        return "sidecar"
    return shlex.quote(str(script))
