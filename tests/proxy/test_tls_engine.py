"""The TLS engine between two memory buffers: records of any size, cut anywhere, and errors that are another's."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from OpenSSL._util import lib

from sidecar.proxy.tls import OpenSslEngine, ServerTls, TlsFailure
from tests.support.live_server import digest, tls_settings
from tests.support.pki import Identity, Pki

VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


class Pair:
    """A client, and our engine; bytes pass only when told to."""

    def __init__(self, tls: ServerTls, identity: Identity | None = None, version: str = "1.3") -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(VERSIONS[version])
        if identity is not None:
            context.use_certificate(identity.certificate)
            context.use_privatekey(identity.key)
        self.client = SSL.Connection(context, None)
        self.client.set_connect_state()
        self.engine = tls.engine()

    def from_client(self) -> bytes:
        try:
            return self.client.bio_read(1 << 24)
        except SSL.WantReadError:
            return b""

    def shake_hands(self, step: int = 1 << 20) -> None:
        """Until both are done; the client's bytes arrive `step` at a time."""
        for _ in range(6):
            try:
                self.client.do_handshake()
            except SSL.WantReadError:
                pass
            data = self.from_client()
            for start in range(0, len(data), step):
                self.engine.receive(data[start : start + step])
            answer = self.engine.outgoing()
            if answer:
                self.client.bio_write(answer)

    def heard(self) -> bytes:
        """What the client can read now."""
        chunks = []
        try:
            while True:
                chunks.append(self.client.recv(1 << 16))
        except SSL.WantReadError:
            return b"".join(chunks)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> ServerTls:
    return ServerTls(tls_settings(tmp_path_factory.mktemp("engine"), pki), "main")


@pytest.fixture(params=["1.2", "1.3"])
def pair(request: pytest.FixtureRequest, tls: ServerTls, pki: Pki) -> Pair:
    made = Pair(tls, pki.client, request.param)
    made.shake_hands()
    assert made.engine.established
    return made


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_handshake_cut_at_every_byte_is_the_same_handshake(tls: ServerTls, pki: Pki, version: str) -> None:
    pair = Pair(tls, pki.client, version)
    pair.shake_hands(step=1)
    certificate = pair.engine.client_certificate()
    assert certificate is not None
    assert certificate.thumbprint == digest(pki.client)
    assert not pair.engine.is_resumed()


@pytest.mark.parametrize("size", [1, 16384, 16385, 65536, 1_000_000])
def test_plaintext_of_any_size_passes_both_ways(pair: Pair, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    pair.client.bio_write(pair.engine.send(data[:size]))
    assert pair.heard() == data[:size]
    sent = 0
    while sent < size:
        sent += pair.client.send(data[sent:size])
    assert pair.engine.receive(pair.from_client()) == data[:size]


def test_nothing_to_send_is_nothing(pair: Pair) -> None:
    pair.engine.outgoing()
    assert pair.engine.send(b"") == b""
    assert pair.engine.receive(b"") == b""


def test_close_notify_is_the_end_of_one_direction(pair: Pair) -> None:
    pair.client.send(b"last")
    pair.client.shutdown()
    assert pair.engine.receive(pair.from_client()) == b"last"
    assert pair.engine.eof
    pair.client.bio_write(pair.engine.send(b"still here"))
    assert pair.heard() == b"still here"
    pair.client.bio_write(pair.engine.shutdown())
    with pytest.raises(SSL.ZeroReturnError):
        pair.client.recv(1)


def test_broken_record_is_a_failure_and_an_alert(pair: Pair) -> None:
    pair.client.send(b"hello")
    record = bytearray(pair.from_client())
    record[-1] ^= 1
    with pytest.raises(TlsFailure, match=r"bad record mac|decryption failed"):
        pair.engine.receive(bytes(record))
    pair.client.bio_write(pair.engine.outgoing())
    with pytest.raises(SSL.Error, match="bad record mac"):
        pair.client.recv(1)


def test_error_that_another_call_left_behind_breaks_no_session(pair: Pair) -> None:
    other = SSL.Context(
        SSL.TLS_SERVER_METHOD
    )._context  # one that nobody shares: it has no ciphers after this
    assert lib.SSL_CTX_set_cipher_list(other, b"nonsense") == 0
    assert lib.ERR_peek_error() != 0
    assert pair.engine.receive(b"") == b""
    pair.client.send(b"hello")
    lib.SSL_CTX_set_cipher_list(other, b"nonsense")
    assert pair.engine.receive(pair.from_client()) == b"hello"
    lib.ERR_clear_error()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_in_a_handshake_are_understood_or_a_failure(tls: ServerTls, data: st.DataObject) -> None:
    pair = Pair(tls)
    with pytest.raises(SSL.WantReadError):
        pair.client.do_handshake()
    hello = pair.from_client()
    place = data.draw(st.integers(0, len(hello) - 1))
    changed = (
        hello[:place] + data.draw(st.binary(max_size=20)) + hello[place + data.draw(st.integers(0, 5)) :]
    )
    try:
        result = pair.engine.receive(changed)
    except TlsFailure as failure:
        result = failure.result.encode()
    assert (result == b"") or result.islower()
    # An alert, the server's part of the handshake, or nothing yet.
    assert pair.engine.outgoing()[:1] in {b"", b"\x15", b"\x16"}
    assert not pair.engine.established
    assert isinstance(pair.engine, OpenSslEngine)


def test_files_of_a_listener_are_read_once(tmp_path: Path, pki: Pki) -> None:
    settings_ = tls_settings(tmp_path, pki)
    made = ServerTls(settings_, "main")
    settings_.certificate_file.unlink()
    settings_.private_key_file.unlink()
    pair = Pair(made, pki.client)
    pair.shake_hands()
    assert pair.engine.established
