"""`sidecar demo --upstream`: in front of an API that runs already, whatever it is written in."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.demo import in_a_new_shell, invited
from tests.support.processes import free_port, is_listening, is_socket_listening, running

ROOT = Path(__file__).parents[2]
NODE = """
require("node:http").createServer((request, response) => {
  response.writeHead(request.url === "/" ? 404 : 200, {"Content-Type": "text/html", "X-Powered-By": "Express"});
  response.end(`<p>${request.url} by ${request.headers["x-auth-client"]}`);
}).listen(Number(process.argv[1]) || process.argv[1], "127.0.0.1");
"""
ANYTHING = """
import sys
from flask import Flask, request
api = Flask("anything")
@api.route("/anything", methods=["GET", "POST"])
def anything():
    return {"url": request.url, "headers": dict(request.headers)}
@api.route("/problem")
def problem():
    return {"detail": "of the API's own"}, 418, {"Content-Type": "application/problem+json"}
api.run("127.0.0.1", int(sys.argv[1]))
"""


@pytest.fixture(params=["node", "flask"])
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an API that knows nothing of OAuth."""
    port = free_port()
    command = (
        ["node", "-e", NODE, port] if request.param == "node" else [sys.executable, "-c", ANYTHING, port]
    )
    with running(command, tmp_path / "api.log", lambda: is_listening(port)):
        yield f"http://127.0.0.1:{port}"


def demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar", "demo", "--check", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_every_promise_is_kept_in_front_of_an_api_that_is_there(api: str) -> None:
    done = demo("--upstream", api)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 of 11 as expected" in done.stdout


def test_what_the_api_answers_is_no_broken_promise(api: str) -> None:
    done = demo("--upstream", api, "--path", "/problem")
    assert "✓ the rightful client" in done.stdout, done.stdout


def test_the_commands_ask_the_api_and_the_folder_is_a_starting_point(api: str, tmp_path: Path) -> None:
    folder, port = tmp_path / "first-look", free_port()
    with invited("--upstream", api, "--folder", folder, "--path", "/anything", "--port", port) as commands:
        rightful, thief, *_ = (in_a_new_shell(command) for command in commands)
    assert "reporting" in rightful.stdout, rightful.stderr
    assert json.loads(thief.stdout)["reason"] == "binding_mismatch"
    checked = in_a_new_shell(f"{sys.executable} -m sidecar check --config {folder}/sidecar.yaml")
    assert "good: 1 issuer, 1 rule" in checked.stderr
    assert f"127.0.0.1:{port}" in (folder / "sidecar.yaml").read_text()


@pytest.fixture
def httpbin(tmp_path: Path) -> Iterator[str]:
    """The URL of httpbin itself, served by gunicorn."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "httpbin:app"]
    found = {**os.environ, "PYTHONPATH": str(ROOT / "build" / "httpbin")}
    with running(command, tmp_path / "api.log", lambda: is_listening(port), environment=found):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.real
def test_in_front_of_httpbin(httpbin: str, tmp_path: Path) -> None:
    done = demo("--upstream", httpbin, "--path", "/stream/3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 of 11 as expected" in done.stdout
    with invited("--upstream", httpbin, "--folder", tmp_path / "look", "--path", "/anything") as commands:
        rightful, thief, *_ = (in_a_new_shell(command) for command in commands)
    assert json.loads(rightful.stdout)["headers"]["X-Auth-Client"] == "reporting"
    assert json.loads(thief.stdout)["reason"] == "binding_mismatch"


def test_an_api_on_a_unix_socket(tmp_path: Path) -> None:
    socket = tmp_path / "api.sock"
    with running(["node", "-e", NODE, socket], tmp_path / "api.log", lambda: is_socket_listening(socket)):
        done = demo("--upstream", f"unix://{socket}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--upstream", "http://127.0.0.1:1"),
            "nothing serves at http://127.0.0.1:1: connection refused: start the API first, or give its address",
        ),
        (("--upstream", "http://nowhere.invalid"), "the name does not resolve: start the API first"),
        (("--upstream", "unix:///nowhere/api.sock"), "no such file or directory: start the API first"),
        (("--upstream", "127.0.0.1:8080"), "is not http://host:port, https://host:port or unix:///path"),
        (("--upstream", "http://127.0.0.1:8080/v1"), "only scheme, host and port"),
        (("--upstream", "http://\x1b[31m:80"), "is not a URL: write http://host:port"),
    ],
)
def test_an_upstream_that_cannot_be_is_one_line_with_the_cure(arguments: tuple[str, ...], said: str) -> None:
    done = demo(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.isprintable() or done.stderr[:-1].isprintable()
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "does not answer in HTTP/1.1: give the URL of an API that does, or https://",
        ),
        (b"", "does not answer in HTTP/1.1"),
        (None, "it gave no answer to HEAD / in 10 seconds: give a --path that it answers at once"),
    ],
    ids=["speaks something else", "hangs up", "says nothing"],
)
def test_an_upstream_that_speaks_no_http_is_one_line_with_the_cure(greeting: bytes | None, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=greet, args=(listening, greeting))
        answering.start()
        done = demo("--upstream", f"http://127.0.0.1:{listening.getsockname()[1]}")
        answering.join()
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def greet(listening: socket.socket, greeting: bytes | None) -> None:
    """Take one connection; say `greeting` and hang up, or with None stay silent until the other hangs up."""
    connection, _ = listening.accept()
    with connection:
        if greeting is not None:
            connection.sendall(greeting)
        else:
            while connection.recv(4096):
                pass


def test_a_port_of_the_issuer_that_is_taken_is_one_line_with_the_cure(api: str) -> None:
    done = demo("--upstream", api, "--issuer-port", api.rpartition(":")[2])
    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert "leave out --issuer-port, or give another one" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words", [("--port", "0"), ("--port", "70000"), ("--path", "accounts"), ("--path", "/a b")]
)
def test_wrong_usage_says_what_is_right(words: tuple[str, str]) -> None:
    done = demo(*words)
    assert done.returncode == 2
    assert "give a number from 1 to 65535" in done.stderr or "starts with / and has no spaces" in done.stderr
