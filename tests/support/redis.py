"""A real `redis-server`, without a disk, on a port of its own."""

import subprocess
from pathlib import Path
from typing import Self

from tests.support.debian import program
from tests.support.pki import Identity
from tests.support.processes import eventually, free_port, is_listening

PASSWORD = "not-a-secret"


class RedisServer:
    """Use as a context manager; may be stopped and started again."""

    def __init__(self, folder: Path, identity: Identity | None = None) -> None:
        """With `identity` it speaks TLS alone."""
        self.folder = folder
        self.identity = identity
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        place = f"{PASSWORD}@localhost:{self.port}/1"
        return f"redis://:{place}" if self.identity is None else f"rediss://:{place}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        redis = program("redis-server", "redis-server")
        options = {
            **({"port": self.port} if self.identity is None else self._tls(self.identity)),
            "bind": "127.0.0.1 127.0.0.2",
            "save": "",
            "appendonly": "no",
            "requirepass": PASSWORD,
        }
        words = [
            word for name, value in options.items() for word in (f"--{name}", *(str(value).split() or [""]))
        ]
        self._process = subprocess.Popen(
            [redis, *words, "--dir", str(self.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(lambda: is_listening(self.port), what="redis-server listens")

    def _tls(self, identity: Identity) -> dict[str, object]:
        files = identity.write(self.folder, "redis")
        return {
            "port": 0,
            "tls-port": self.port,
            "tls-cert-file": files.certificate,
            "tls-key-file": files.private_key,
            "tls-auth-clients": "no",
        }

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None
