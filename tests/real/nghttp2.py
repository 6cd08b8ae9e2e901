"""nghttp2's own programs: nghttpd as an API, nghttp and h2load as clients."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.real.clients import CLIENT_SECONDS
from tests.support.debian import program
from tests.support.pki import Identity
from tests.support.processes import free_port, is_listening, running

SHIM = Path(__file__).parents[2] / "bench" / "client" / "certificate_shim.c"


@dataclass(frozen=True, slots=True)
class Nghttpd:
    """It serves the files of `folder`, and repeats what is uploaded."""

    url: str
    folder: Path
    log: Path

    def connections(self) -> int:
        """How many carried requests."""
        pattern = re.compile(r"^\[id=(\d+)\] .* recv \(stream_id=\d+\) :method", re.MULTILINE)
        return len(set(pattern.findall(self.log.read_text(errors="replace"))))


@contextlib.contextmanager
def nghttpd(folder: Path, server: Identity | None = None, *options: str) -> Iterator[Nghttpd]:
    """nghttpd on 127.0.0.1, as `server` over TLS, or in the clear."""
    port, files, log = free_port(), folder / "files", folder / "nghttpd.log"
    files.mkdir()
    command = [
        program("nghttpd", "nghttp2-server"),
        "--address=127.0.0.1",
        f"--htdocs={files}",
        "--echo-upload",
        "-v",
    ]
    if server is None:
        command += [*options, "--no-tls", str(port)]
        url = f"http://127.0.0.1:{port}"
    else:
        written = server.write(folder, "server")
        command += [*options, str(port), str(written.private_key), str(written.certificate)]
        url = f"https://localhost:{port}"
    with running(command, log, lambda: is_listening(port)):
        yield Nghttpd(url, files, log)


def nghttp(identity: Identity, folder: Path, token: str | None, *arguments: str) -> str:
    """What `nghttp --verbose` prints: every frame both ways."""
    return _output([*_nghttp(identity, folder, token), "--null-out", *arguments])


@contextlib.contextmanager
def nghttp_lines(identity: Identity, folder: Path, token: str, *arguments: str) -> Iterator[Iterator[str]]:
    """What `nghttp --verbose` prints, content too, line by line as it comes; it must end well."""
    command = ["stdbuf", "--output=L", *_nghttp(identity, folder, token), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield iter(child.stdout)
            assert child.wait(CLIENT_SECONDS) == 0
        finally:
            child.kill()


def _nghttp(identity: Identity, folder: Path, token: str | None) -> list[str]:
    files = identity.write(folder, "nghttp")
    command = [program("nghttp", "nghttp2-client"), "--verbose", "--no-verify-peer"]
    command += [f"--cert={files.certificate}", f"--key={files.private_key}"]
    return command if token is None else [*command, f"--header=authorization: Bearer {token}"]


def h2load(identity: Identity, folder: Path, token: str, *arguments: str) -> str:
    """What h2load prints. It knows no client certificates: the shim of the benchmark lends it one."""
    shim, pem = folder / "shim.so", folder / "client.pem"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", shim, SHIM, "-ldl"], check=True)
    pem.write_bytes(identity.pem + identity.key_pem)
    command = [program("h2load", "nghttp2-client"), f"--header=authorization: Bearer {token}", *arguments]
    return _output(command, {"LD_PRELOAD": str(shim), "CLIENT_PEM": str(pem)})


def _output(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
