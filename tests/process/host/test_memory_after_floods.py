"""Clients that never finish what they begin: what they take of a running sidecar is bounded, and comes back.

Resident bytes of the process, by the kernel, before, while and after; each look waits for what is counted (connections
by `/metrics`), never for a time.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.process.world import events, fast, figures, sidecar
from tests.support.lanes import WHOLE
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar

CROWD = 600 if WHOLE else 300
"""More than are too few to be noticed (`host.memory`)."""
HELLO = 24 << 10
HEAD = 56 << 10
"""Bytes that one connection may take which has sent half a ClientHello, or a handshake and a head without end."""
KEPT = 0.5
"""The largest part of a crowd's memory that may be kept after it has gone: pages that are partly in use."""
FEW = 6 << 20
"""Bytes that are no crowd's."""
BOUND, SURPLUS = 50, 64
"""Connections that may be, and those past them that only get a 503."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Sidecar]:
    patient = {
        "timeouts": {"handshake": "300s", "request_head": "300s"}
    }  # the first stays until the last has come
    with sidecar(tmp_path_factory.mktemp("floods"), pki, signing_key, patient) as (one, _):
        leaves(one, comes(one, half_a_hello, 20))
        leaves(one, comes(one, head_without_end, 20))  # whatever is made once is made now
        yield one


def connected(one: Sidecar) -> socket.socket:
    return socket.create_connection(("127.0.0.1", one.port), 60)


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def half_a_hello(one: Sidecar) -> socket.socket:
    """The first half of the record: nobody can say yet whether it is one."""
    sent, here = ssl.MemoryBIO(), connected(one)
    tls = context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = sent.read()
    here.sendall(hello[: len(hello) // 2])
    return here


def head_without_end(one: Sidecar) -> socket.socket:
    """As many fields as may be, and no empty line."""
    here = context().wrap_socket(connected(one))
    fields = b"".join(b"a%d: %b\r\n" % (at, b"x" * 60) for at in range(90))
    here.sendall(b"GET /public/a HTTP/1.1\r\nHost: a\r\n" + fields)
    return here


def open_now(one: Sidecar) -> int:
    return int(figures(one)[("sidecar_connections",)])


def comes(
    one: Sidecar, client: Callable[[Sidecar], socket.socket], count: int = CROWD
) -> list[socket.socket]:
    crowd = [client(one) for _ in range(count)]
    eventually(lambda: open_now(one) == count, what=f"{count} connections")
    return crowd


def leaves(one: Sidecar, crowd: list[socket.socket]) -> None:
    for each in crowd:
        each.close()
    eventually(lambda: open_now(one) == 0, what="no connection")


def resident(one: Sidecar) -> int:
    return one.process.memory().now


def comes_back(one: Sidecar, most: int) -> None:
    eventually(lambda: resident(one) <= most, what=f"{most} bytes at most")


@pytest.mark.slow
@pytest.mark.timeout(300)  # a handshake for each, both ends of it
@pytest.mark.parametrize(("client", "most"), [(half_a_hello, HELLO), (head_without_end, HEAD)])
def test_memory_of_a_crowd_that_never_finishes_is_bounded_and_comes_back(
    client: Callable[[Sidecar], socket.socket], most: int, running: Sidecar
) -> None:
    first = resident(running)
    for _ in range(2):  # the second crowd takes what the first one left
        crowd = comes(running, client)
        taken = resident(running) - first
        assert taken <= CROWD * most
        leaves(running, crowd)
        comes_back(running, first + max(FEW, int(taken * KEPT)))


def is_served(one: Sidecar, pki: Pki, token: str) -> bool:
    with suppress(OSError), one.connect(pki.client) as honest:
        return honest.request("GET", "/accounts/1", token=token).status == 200
    return False


def test_full_sidecar_takes_no_more_and_still_serves_whoever_finishes(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with (
        sidecar(tmp_path, pki, signing_key, {"limits": {"connections": BOUND}}) as (one, _),
        one.connect() as early,
        ExitStack() as crowd,
    ):
        token = signing_key.token(pki.client)
        assert early.request("GET", "/public/a").status == 200
        before = resident(one)
        for _ in range(CROWD):
            with suppress(ConnectionError):
                crowd.enter_context(half_a_hello(one))
        for _ in range(2 * BOUND):
            with suppress(OSError):
                crowd.enter_context(head_without_end(one))
        assert open_now(one) <= BOUND + SURPLUS
        assert resident(one) - before <= (BOUND + SURPLUS) * HEAD + FEW
        # A connection that is younger than a second is never given up for another: until then one may be turned away.
        eventually(lambda: is_served(one, pki, token), what="a client who finishes")
        eventually(lambda: bool(events(one, "incident")), what="a line about those who were turned away")


def sends_without_end(client: socket.socket, at_once: int) -> None:
    """And reads no answer, so that its requests have to wait; or if they come one by one, their answers."""
    while True:
        client.sendall(b"GET /accounts/x HTTP/1.1\r\nHost: a\r\n\r\n" * at_once)


@pytest.mark.parametrize("at_once", [1000, 3])
def test_who_sends_much_that_waits_is_ended_when_memory_is_short_and_nobody_else_is(
    at_once: int, tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with sidecar(tmp_path, pki, signing_key) as (one, upstream):
        with one.connect() as modest, context().wrap_socket(connected(one)) as greedy:
            assert modest.request("GET", "/public/a").status == 200
            short = {**one.service_document(upstream.url), **fast({"limits": {"memory_bytes": "1MiB"}})}
            one.write_service(short)
            with pytest.raises((ConnectionError, ssl.SSLEOFError)):
                sends_without_end(greedy, at_once)
            assert modest.request("GET", "/public/a").status == 200
        assert figures(one)[("sidecar_incidents_total", "connections_given_up")] == 1
