"""Real servers to stand behind the sidecar, each a child process on its own port."""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import Child, answers_ok, free_port, is_listening, running
from tests.support.tls_client import Wire

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Upstream:
    """A running server; `folder` holds its log and, for nginx, what it serves."""

    name: str
    port: int
    child: Child
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, what: str = "count") -> int:
        """How many requests it has seen (Flask and Node; `upgrades` for Node), asked past the sidecar."""
        with Wire.plain(self.port) as wire:
            answer: dict[str, Any] = json.loads(wire.request(target="/count").body)
            return int(answer[what])


@contextlib.contextmanager
def flask_upstream(folder: Path) -> Iterator[Upstream]:
    """The Flask app under gunicorn: one process, eight threads, keep-alive.

    `--header-map dangerous` lets names with `_` through, as other WSGI servers do: what arrives shows.
    """
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1"]
    command += [
        "--worker-class",
        "gthread",
        "--threads",
        "8",
        "--keep-alive",
        "30",
        "--graceful-timeout",
        "2",
    ]
    command += [
        "--worker-tmp-dir",
        str(folder),
        "--header-map",
        "dangerous",
        "--no-control-socket",
        "flask_app:app",
    ]
    with running(
        command, folder / "gunicorn.log", lambda: answers_ok(f"http://127.0.0.1:{port}/count"), directory=HERE
    ) as child:
        yield Upstream("gunicorn", port, child, folder)


@contextlib.contextmanager
def node_upstream(folder: Path) -> Iterator[Upstream]:
    """Node's http server."""
    port = free_port()
    command = ["node", HERE / "node_server.mjs", str(port)]
    with running(command, folder / "node.log", lambda: is_listening(port)) as child:
        yield Upstream("node", port, child, folder)


@contextlib.contextmanager
def websocket_upstream(folder: Path) -> Iterator[Upstream]:
    """A WebSocket echo server."""
    port = free_port()
    command = [sys.executable, HERE / "websocket_server.py", str(port)]
    with running(command, folder / "websocket.log", lambda: is_listening(port)) as child:
        yield Upstream("websockets", port, child, folder)


def nginx_program() -> str:
    """Where nginx is; it may be outside an ordinary user's PATH. Raises `FileNotFoundError` when it is missing."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise FileNotFoundError("nginx is not installed; `make install` installs it")
    return program


@contextlib.contextmanager
def nginx_upstream(folder: Path) -> Iterator[Upstream]:
    """nginx; what a test writes under `folder / "files"` is served as `/files/…`."""
    port = free_port()
    (folder / "files").mkdir()
    template = (HERE / "nginx.conf.in").read_text()
    config = folder / "nginx.conf"
    config.write_text(template.replace("@FOLDER@", str(folder)).replace("@PORT@", str(port)))
    command = [nginx_program(), "-p", folder, "-c", config, "-e", "stderr"]
    with running(
        command, folder / "nginx.log", lambda: answers_ok(f"http://127.0.0.1:{port}/ready")
    ) as child:
        yield Upstream("nginx", port, child, folder)
