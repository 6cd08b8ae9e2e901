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

from tests.support.pki import Authority, Identity
from tests.support.processes import Child, answers_ok, free_port, is_listening, is_socket_listening, running
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
    command = gunicorn(folder, f"127.0.0.1:{port}")
    with running(
        command, folder / "gunicorn.log", lambda: answers_ok(f"http://127.0.0.1:{port}/count"), directory=HERE
    ) as child:
        yield Upstream("gunicorn", port, child, folder)


@contextlib.contextmanager
def flask_on_a_socket(folder: Path) -> Iterator[Path]:
    """The same on a Unix socket, whose path it yields."""
    path = folder / "api.sock"
    command = gunicorn(folder, f"unix:{path}")
    with running(command, folder / "gunicorn.log", lambda: is_socket_listening(path), directory=HERE):
        yield path


@contextlib.contextmanager
def django_upstream(folder: Path) -> Iterator[Upstream]:
    """A Django app under gunicorn, which echoes."""
    port = free_port()
    command = gunicorn(folder, f"127.0.0.1:{port}", "django_app:app")
    with running(
        command, folder / "django.log", lambda: answers_ok(f"http://127.0.0.1:{port}/"), directory=HERE
    ) as child:
        yield Upstream("django", port, child, folder)


@contextlib.contextmanager
def cgi_upstream(folder: Path) -> Iterator[Upstream]:
    """The Flask app under the standard library's server, whose environment is that of CGI."""
    port = free_port()
    command = [sys.executable, "-m", "tests.real.cgi_server", str(port)]
    with running(
        command,
        folder / "cgi.log",
        lambda: answers_ok(f"http://127.0.0.1:{port}/count"),
        directory=HERE.parents[1],
    ) as child:
        yield Upstream("cgi", port, child, folder)


def gunicorn(folder: Path, bind: str, app: str = "flask_app:app") -> list[str]:
    """The command that serves an app."""
    options = (
        f"--bind {bind} --workers 1 --worker-class gthread --threads 8 --keep-alive 30 --graceful-timeout 2"
    )
    options += f" --worker-tmp-dir {folder} --header-map dangerous --no-control-socket"
    return [sys.executable, "-m", "gunicorn", *options.split(), app]


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
    command = nginx(folder, "nginx.conf.in", port)
    with running(
        command, folder / "nginx.log", lambda: answers_ok(f"http://127.0.0.1:{port}/ready")
    ) as child:
        yield Upstream("nginx", port, child, folder)


@contextlib.contextmanager
def nginx_behind_tls(folder: Path, server: Identity, callers: Authority) -> Iterator[int]:
    """nginx as `server`, which answers only to certificates of `callers` and says whose it saw; its port."""
    port = free_port()
    server.write(folder, "server")
    (folder / "client-ca.crt").write_bytes(callers.pem)
    command = nginx(folder, "nginx-tls.conf.in", port)
    with running(command, folder / "nginx.log", lambda: is_listening(port)):
        yield port


@contextlib.contextmanager
def nginx_of_http2(folder: Path, server: Identity) -> Iterator[str]:
    """nginx as `server`, which speaks HTTP/2 and ends a connection after ten requests; its URL."""
    port = free_port()
    server.write(folder, "server")
    with running(
        nginx(folder, "nginx-http2.conf.in", port), folder / "nginx.log", lambda: is_listening(port)
    ):
        yield f"https://localhost:{port}"


def nginx(folder: Path, template: str, port: int) -> list[str]:
    """The command that serves a template filled in."""
    config = folder / "nginx.conf"
    text = (HERE / template).read_text()
    config.write_text(text.replace("@FOLDER@", str(folder)).replace("@PORT@", str(port)))
    return [nginx_program(), "-p", str(folder), "-c", str(config), "-e", "stderr"]
