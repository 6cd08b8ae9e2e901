"""A TLS engine that rests while its connection is idle: buffers are released, and nothing else changes."""

import ctypes

import pytest
from OpenSSL import SSL

from sidecar.proxy.tls import ServerTls
from tests.support.live_server import tls_settings
from tests.support.pki import Pki
from tests.support.tls_pair import Pair, sealed_pair


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> ServerTls:
    return ServerTls(tls_settings(tmp_path_factory.mktemp("rest"), pki), "main")


@pytest.fixture(params=["1.2", "1.3"])
def pair(request: pytest.FixtureRequest, tls: ServerTls, pki: Pki) -> Pair:
    made = Pair(tls, pki.client, request.param)
    made.shake_hands()
    return made


def allocated() -> int:
    """Bytes that the C library has given out."""

    class Figures(ctypes.Structure):
        """`struct mallinfo2` of glibc."""

        _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]

    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = Figures
    figures = ask()
    return int(figures.h) + int(figures.e)  # uordblks and hblkhd: on the heap, and mapped


def test_buffers_of_large_records_are_released(pair: Pair) -> None:
    data = b"x" * 60_000
    pair.client.bio_write(pair.engine.send(data))
    assert pair.heard() == data
    before = allocated()
    pair.engine.rest()
    assert before - allocated() >= len(data) // 2


def test_rest_at_any_byte_of_a_record_changes_nothing(pair: Pair) -> None:
    """Part of a record has arrived: it is in OpenSSL's own buffer, or the engine does not rest."""
    pair.client.send(b"question")
    record = pair.from_client()
    for cut in range(len(record) + 1):
        heard = pair.engine.receive(record[:cut])
        pair.engine.rest()
        heard += pair.engine.receive(record[cut:]) if cut < len(record) else b""
        assert heard == b"question"
        pair.engine.rest()
        pair.client.bio_write(pair.engine.send(b"answer"))
        assert pair.heard() == b"answer"
        pair.client.send(b"question")
        record = pair.from_client()


def test_goodbye_is_heard_and_said_after_a_rest(pair: Pair) -> None:
    pair.engine.rest()
    pair.client.shutdown()
    assert pair.engine.receive(pair.from_client()) == b""
    assert pair.engine.eof
    pair.engine.rest()
    pair.client.bio_write(pair.engine.shutdown())
    with pytest.raises(SSL.ZeroReturnError):
        pair.client.recv(1)


def test_an_engine_before_its_handshake_does_not_rest(tls: ServerTls, pki: Pki) -> None:
    pair = Pair(tls, pki.client)
    pair.engine.rest()
    with pytest.raises(SSL.WantReadError):
        pair.client.do_handshake()
    flight = pair.from_client()
    pair.engine.receive(flight[:50])
    pair.engine.rest()
    pair.engine.receive(flight[50:])
    pair.engine.rest()  # its own flight was not taken yet
    pair.client.bio_write(pair.engine.outgoing())
    pair.shake_hands()
    assert pair.engine.established
    assert pair.engine.client_certificate() is not None


def test_keys_change_after_a_rest(tls: ServerTls, pki: Pki) -> None:
    """RFC 8446 §4.6.3: both directions have new keys, and the answer to the request of them comes first."""
    pair, sealer = sealed_pair(tls, pki.client)
    pair.engine.rest()
    assert pair.engine.receive(sealer.key_update(is_requested=True)) == b""
    assert pair.engine.speaks
    pair.engine.rest()
    pair.client.bio_write(pair.engine.send(b"answer"))
    assert pair.heard() == b"answer"
    assert pair.engine.receive(sealer.record(23, b"under new keys", 0)) == b"under new keys"
