"""What a command prints on a terminal, as a page that a browser can draw."""

import html
import os
import pty
import re
import subprocess
import sys

STYLE = (
    "body{margin:0;background:#101418;color:#e6e9ed;font:14px/1.3 'DejaVu Sans Mono',monospace}"
    "pre{margin:0;padding:12px 16px;font:inherit;width:max-content}"
)
COLOURS = {"32": "#4fc47c", "31": "#ff8a80"}


def printed(*arguments: str) -> str:
    """What `sidecar ARGUMENTS` writes onto a terminal. Raises `CalledProcessError` where it fails."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", *arguments], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave
    ) as child:
        os.close(slave)
        said = b""
        try:
            while part := os.read(master, 65536):
                said += part
        except OSError:  # how a terminal on Linux ends
            pass
        os.close(master)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args, said)
    return said.decode().replace("\r\n", "\n")


def page(command: str, output: str) -> str:
    """Command and output as HTML; of the escape sequences those that colour (ECMA-48 §8.3.117)."""
    text = html.escape(f"$ {command}\n{output.rstrip()}\n")
    text = re.sub(r"\x1b\[(3[12])m", lambda found: f'<span style="color:{COLOURS[found[1]]}">', text)
    text = text.replace("\x1b[0m", "</span>")
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><pre>{text}</pre>"
