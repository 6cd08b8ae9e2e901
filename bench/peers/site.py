"""Where one start of a peer lives."""

import grp
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.material import Material
from bench.template import fill


@dataclass(frozen=True, slots=True)
class Site:
    """One start of one peer: its directory, its ports, and how large its world is."""

    run: Path
    files: Path
    material: Material
    port: int
    admin: int
    upstream: int
    introspection: int = 0  # the issuer's port when tokens are opaque, else 0
    dpop: bool = False  # tokens come with proofs (RFC 9449)
    rules: int = 20
    workers: int = 1
    cached_tokens: int = 0  # 0: as shipped
    http2: bool = False  # offers HTTP/2 to clients
    grpc: bool = False  # and the API speaks nothing else

    def write(self, template: str, name: str, extra: Mapping[str, str | int] | None = None) -> str:
        """Fills `template` into the peer's directory; the new file's path."""
        path = self.run / name
        path.write_text(
            fill((Path(__file__).parent / template).read_text(), {**self._values(), **(extra or {})})
        )
        return str(path)

    def _values(self) -> dict[str, str | int]:
        ids = {"USER": pwd.getpwuid(os.getuid()).pw_name, "GROUP": grp.getgrgid(os.getgid()).gr_name}
        places = {"DIR": str(self.material.directory), "RUN": str(self.run), "FILES": str(self.files)}
        return {**ids, **places, "PORT": self.port, "UPSTREAM": self.upstream, "ADMIN": self.admin}
