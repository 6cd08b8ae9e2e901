"""An API of gRPC in a thread: the four kinds of call, on bytes that nobody declares; health and reflection beside it.

Each method says what it got: `unary` repeats it, `join` joins a stream, `count` counts down, `echo` repeats a stream.
`unary` waits as long as it is told to.
"""

import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

SERVICE = "test.Talk"


def _plain(data: bytes) -> bytes:
    return data


class Talk(grpc.GenericRpcHandler):  # type: ignore[misc]  # the package has no types
    """`test.Talk`."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = threading.Event()
        self.metadata: dict[str, str] = {}

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method.rpartition("/")[2]
        if not handler_call_details.method.startswith(f"/{SERVICE}/"):
            return None
        self.calls += 1
        self.metadata = dict(handler_call_details.invocation_metadata)
        kinds = {
            "unary": grpc.unary_unary_rpc_method_handler(self.unary, _plain, _plain),
            "join": grpc.stream_unary_rpc_method_handler(self.join, _plain, _plain),
            "count": grpc.unary_stream_rpc_method_handler(self.count, _plain, _plain),
            "echo": grpc.stream_stream_rpc_method_handler(self.echo, _plain, _plain),
        }
        return kinds.get(method)

    def unary(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        if data == b"fail":
            context.set_trailing_metadata((("x-why", "asked to"),))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked: 100 %")
        if data.startswith(b"until "):
            threading.Event().wait(max(0.0, float(data[6:]) - time.time()))
        return data

    def join(self, pieces: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("x-sum", "1"),))
        context.add_callback(self.cancelled.set)
        return b"".join(pieces)

    def count(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        for number in range(int(data)):
            yield b"%d" % number
        if data.startswith(b"0"):  # and goes on until somebody ends it
            while context.is_active():
                yield b"more"
                threading.Event().wait(0.05)

    def echo(self, pieces: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        yield from pieces


class GrpcApi:
    """A context manager."""

    def __init__(self) -> None:
        self.talk = Talk()
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        self._server.add_generic_rpc_handlers((self.talk,))
        self.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.stop(None).wait()
