"""What a client's TLS may say beside data: a few new keys, no other handshake, and nobody pays for more; and that the
answer to it arrives.
"""

import ssl
from pathlib import Path

import pytest
from OpenSSL import SSL

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import AtHandshake, Trust
from sidecar.proxy.tls import OpenSslEngine, ServerTls, TlsFailure
from sidecar.proxy.tls.verification import MESSAGES
from tests.support.live_server import LiveServer, tls_settings
from tests.support.pki import Pki
from tests.support.tls_client import Wire, versioned
from tests.support.tls_pair import Pair, sealed_pair

pytestmark = pytest.mark.field_cases


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> ServerTls:
    return ServerTls(tls_settings(tmp_path_factory.mktemp("messages"), pki), "main")


@pytest.mark.parametrize("requested", [True, False], ids=["asked back", "not asked back"])
@pytest.mark.parametrize("with_data", [True, False], ids=["between data", "alone"])
def test_new_keys_now_and_then_are_taken_and_for_ever_are_not(
    tls: ServerTls, pki: Pki, requested: bool, with_data: bool
) -> None:
    pair, sealer = sealed_pair(tls, pki.client)
    for _ in range(20):
        assert pair.engine.receive(sealer.key_update(is_requested=requested)) == b""
    assert pair.engine.receive(sealer.record(23, b"data", 0)) == b"data"
    said = b""
    for _ in range(MESSAGES):
        said += sealer.key_update(is_requested=requested)
        said += sealer.record(23, b"x", 0) if with_data else b""
    with pytest.raises(TlsFailure, match="keeps talking about itself"):
        pair.engine.receive(said)


def asks_for_another_handshake(pair: Pair) -> bytes:
    """The record with which a client of TLS 1.2 begins it (RFC 5246 §7.4.1.1)."""
    assert pair.client.renegotiate()
    with pytest.raises(SSL.WantReadError):
        pair.client.do_handshake()
    return pair.from_client()


@pytest.mark.parametrize("place", ["alone", "behind data"])
def test_another_handshake_is_refused_at_once(tls: ServerTls, pki: Pki, place: str) -> None:
    pair = Pair(tls, pki.client, "1.2")
    pair.shake_hands()
    if place == "behind data":
        pair.client.send(b"data")
    asked = pair.from_client() + asks_for_another_handshake(pair)
    heard = pair.engine.receive(asked)
    assert heard == (b"data" if place == "behind data" else b"")
    assert pair.engine.speaks
    pair.client.bio_write(pair.engine.outgoing())
    with pytest.raises(SSL.Error, match="no renegotiation"):
        pair.client.do_handshake()


def test_half_a_hello_costs_no_session(tls: ServerTls) -> None:
    pair = Pair(tls)
    with pytest.raises(SSL.WantReadError):
        pair.client.do_handshake()
    hello = pair.from_client()
    assert isinstance(pair.engine, OpenSslEngine)
    for at in range(len(hello) - 1):
        assert pair.engine.receive(hello[at : at + 1]) == b""
        assert pair.engine._connection is None
        assert pair.engine.outgoing() == b""
    pair.engine.receive(hello[-1:])
    pair.client.bio_write(pair.engine.outgoing())
    pair.shake_hands()
    assert pair.engine.established


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("megabytes", [0, 2])
def test_client_that_is_refused_while_it_sends_hears_why(
    tmp_path: Path, pki: Pki, version: str, megabytes: int
) -> None:
    settings = tls_settings(tmp_path, pki, trust=Trust.CA, at_handshake=AtHandshake.REQUIRED)
    with LiveServer(settings) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
            posts(server.port(), versioned(pki.stranger, version), megabytes << 20)


def posts(port: int, context: ssl.SSLContext, size: int) -> None:
    """Send a whole request, and only then look what the server says."""
    with Wire.tls(port, context=context) as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            wire.send(bytes(65536))
        wire.read_to_end()
