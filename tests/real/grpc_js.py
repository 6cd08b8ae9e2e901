"""npm's @grpc/grpc-js: an API of gRPC, and a client."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.real.clients import HERE, in_node
from tests.support.pki import Identity, Pki
from tests.support.processes import free_port, is_listening, running


@dataclass(frozen=True, slots=True)
class GrpcJsServer:
    """`test.Talk`, as in `grpc_api.py`."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def calls(self) -> list[str]:
        """The kind of each call that it was asked for."""
        return self.log.read_text().split()


@contextlib.contextmanager
def grpc_js_server(folder: Path) -> Iterator[GrpcJsServer]:
    server = GrpcJsServer(free_port(), folder / "grpc-js.log")
    command = ["node", HERE / "grpc_server.mjs", str(server.port)]
    with running(command, server.log, lambda: is_listening(server.port)):
        yield server


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its kind is the name of the method."""

    kind: str
    token: str | None
    sent: Sequence[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call; `metadata` holds that of the head and of the trailers."""

    code: int
    details: str
    got: list[str]
    metadata: dict[str, str] = field(default_factory=dict)


def grpc_js(port: int, pki: Pki, identity: Identity, *calls: Call) -> list[Answer]:
    """Makes the calls on one connection to localhost, all at once."""
    task = {
        "target": f"localhost:{port}",
        "calls": [{"kind": call.kind, "token": call.token, "sent": list(call.sent)} for call in calls],
    }
    answers = in_node("grpc_client.mjs", pki.server_authority.certificate, identity, task)
    return [Answer(**answer) for answer in answers]
