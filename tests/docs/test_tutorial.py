"""The tutorial, from its first command to its last, in one shell and an empty folder."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_commands_in_docs import pattern
from tests.support.processes import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
PORTS = ("8080", "8443", "9443", "9901", "9902")
END = "--- end of the command ---"


class Shell:
    """A bash that lives from block to block, as the reader's does."""

    def __init__(self, folder: Path) -> None:
        scripts = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=environment, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str) -> str:
        """What the command prints on both outputs."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\nprintf '\\n%s\\n' '{END}'\n")
        self.process.stdin.flush()
        said = ""
        for line in self.process.stdout:
            if line == f"{END}\n":
                # The line that separates is ours, unless the command's last line did not end.
                return said.removesuffix("\n") if said == "\n" or said.endswith("\n\n") else said
            said += line
        raise AssertionError(f"the shell ended at {command}: {said}")

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.communicate(timeout=60)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    one = Shell(tmp_path)
    yield one
    one.end()


def steps(text: str) -> list[tuple[str, str]]:
    """Each command of the page, and what it shows behind it."""
    blocks = "".join(re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    return [(one[1], one[2]) for one in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", blocks, re.MULTILINE)]


def elsewhere(text: str, ports: dict[str, str]) -> str:
    """The same on ports that are free here."""
    return re.sub(r"\b(" + "|".join(ports) + r")\b", lambda found: ports[found[1]], text)


@pytest.mark.timeout(300)
def test_every_command_does_what_the_page_shows(shell: Shell, tmp_path: Path) -> None:
    ports = {port: str(free_port()) for port in PORTS}
    commands = steps(elsewhere(PAGE, ports))
    assert len(commands) > 25
    written = tmp_path / "my-api" / "sidecar.yaml"
    for command, shown in commands:
        said = shell.run(command)
        assert re.fullmatch(pattern(shown), said), f"$ {command}\n{said}"
        if command.startswith("sidecar init"):
            written.write_text(elsewhere(written.read_text(), ports))


def test_the_page_speaks_of_every_step_on_the_way() -> None:
    commands = " ".join(command for command, _ in steps(PAGE))
    for name in ("demo", "init", "certificate", "check", "test", "run", "report", "explain"):
        assert f"sidecar {name} " in commands
