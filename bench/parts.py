"""Where the sidecar's own time goes: one request on one connection in this process, without sockets, piece by piece.

`python -m bench.parts`. Process time of many repetitions; what it says is the split, not what a request costs beside a
kernel and other processes: that is `make bench`. `make bench-parts` runs it on the build that `make bench` measures,
with the package as it is installed there (compiled) and as its source (interpreted).
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

from sidecar.decision.permit import Permit
from sidecar.decision.request import RequestHead
from sidecar.http.message import Request, Response
from sidecar.http.response_fields import ResponseFields, sort_response
from sidecar.proxy.client import http1_writer
from sidecar.proxy.client.http1 import Http1Stream
from sidecar.proxy.exchange import exchange
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.upstream.http1_reader import ResponseReader
from sidecar.telemetry.access import AccessLine
from sidecar.telemetry.outcome import outcome_of
from tests.support.measured import RESPONSE, World
from tests.support.mint import SigningKey
from tests.support.pki import Pki

_REPEATS = 5
_CALLS = 4000


def measured(call: Callable[[], object]) -> float:
    """Microseconds of one call, the best of several runs."""
    call()
    best = float("inf")
    for _ in range(_REPEATS):
        before = process_time()
        for _ in range(_CALLS):
            call()
        best = min(best, process_time() - before)
    return best / _CALLS * 1e6


async def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        # Records must be opened in the order in which they were sealed: the client's own cost is measured on another.
        client = measured((await _begun(Path(folder))).sealed)
        world = await _begun(Path(folder))
        kind = "compiled" if Path(exchange.__file__).suffix == ".so" else "interpreted"
        print(f"{kind}, Python {sys.version.split()[0]}")
        whole, parts = measured(world.one) - client, _parts(world, client)
        rows = {
            "whole request": whole,
            **parts,
            "between them, in colder caches": whole - sum(parts.values()),
        }
        for name, cost in rows.items():
            print(f"{name:32}{cost:7.2f} µs")
    return 0


async def _begun(folder: Path) -> World:
    """A world whose connection has carried a request, so that its token is known."""
    pki = Pki.create()
    world = World(pki, SigningKey.create("ES256"), folder, pki.client)
    await world.begin()
    return world


def _parts(world: World, client: float) -> dict[str, float]:
    stream, serving = world.connection.wire, world.server.serving
    assert isinstance(stream, Http1Stream)
    plain = world.plaintext()
    reader, engine = stream._reader, world.connection.link.engine

    def read() -> Request:
        reader.unread = plain
        reader.read()
        message, reader.message = reader.message, None
        assert message is not None
        return message

    request = read()
    one = Exchange(stream, request, serving)
    head = one._received()
    assert isinstance(head, RequestHead)
    one._head = head
    decide = serving.authorizer.authorize
    permit = decide(head, stream.presenter, one.record.started)
    assert isinstance(permit, Permit)
    one.record.decision, one.record.status = permit, 200
    made = measured(lambda: Exchange(stream, request, serving))
    response, line = _response(), AccessLine()
    labels = outcome_of(one.record)

    def sorted_() -> ResponseFields:
        return sort_response(response.fields, serving.response_names)

    rendered = measured(lambda: line.render(one.record, labels))
    return {
        "TLS in": measured(lambda: engine.receive(world.sealed())) - client,
        "parse the request": measured(read),
        "exchange and its record": made,
        "headers, target, trace": measured(lambda: Exchange(stream, request, serving)._received()) - made,
        "decide": measured(lambda: decide(head, stream.presenter, one.record.started)),
        "request head to the API": measured(lambda: one._request_head(permit)),
        "parse the response": measured(_response),
        "response head": measured(
            lambda: http1_writer.response_head(request, response, sorted_(), chunked=False, keep_alive=True)
        ),
        "TLS out": measured(lambda: engine.send(RESPONSE)),
        "line of the log": rendered,
        "metrics": measured(lambda: serving.observer.observe(one.record)) - rendered,
    }


_READER = ResponseReader()


def _response() -> Response:
    _READER.begin(bodiless=False)
    return _READER.feed(RESPONSE)[0]


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
