"""The TLS engine between two memory buffers: records of any size, cut anywhere, and errors that are another's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from sidecar.proxy.tls import OpenSslEngine, ServerTls, TlsFailure
from tests.support.live_server import digest, tls_settings
from tests.support.pki import Authority, Pki
from tests.support.tls_pair import Pair, Sealer, sealed_pair


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


def test_request_that_comes_with_the_end_of_the_handshake_is_whole_wherever_it_is_cut(
    tls: ServerTls, pki: Pki
) -> None:
    """TLS 1.3 lets a client speak behind its Finished, before our side has settled."""
    plaintext = b"GET / HTTP/1.1"
    for kept_back in range(len(plaintext) + 22):  # header, type and tag of the record
        pair = Pair(tls, pki.client)
        for _ in range(2):
            try:
                pair.client.do_handshake()
            except SSL.WantReadError:
                pair.engine.receive(pair.from_client())
                pair.client.bio_write(pair.engine.outgoing())
        pair.client.send(plaintext)
        flight = pair.from_client()
        heard = pair.engine.receive(flight[: len(flight) - kept_back])
        assert pair.engine.established
        pair.client.bio_write(pair.engine.outgoing())
        pair.engine.settle()
        heard += pair.engine.receive(flight[len(flight) - kept_back :]) if kept_back else b""
        assert heard == plaintext
        pair.client.bio_write(pair.engine.send(b"answer"))
        assert pair.heard() == b"answer"


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


def test_what_comes_after_close_notify_is_not_kept(pair: Pair) -> None:
    pair.client.send(b"last")
    pair.client.shutdown()
    assert pair.engine.receive(pair.from_client() + b"more") == b"last"
    for _ in range(8):
        assert pair.engine.receive(bytes(1 << 18)) == b""
    assert pair.engine.eof
    assert lib.BIO_get_mem_data(pair.engine._to_tls, ffi.new("char **")) == 0


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


@pytest.fixture(scope="module")
def established(tls: ServerTls, pki: Pki) -> Callable[[str], Pair]:
    """Makes pairs that have shaken hands, of a version of TLS."""

    def make(version: str) -> Pair:
        pair = Pair(tls, pki.client, version)
        pair.shake_hands()
        return pair

    return make


SIZES = st.sampled_from([1, 2, 16383, 16384]) | st.integers(1, 16384) | st.integers(1, 40)
CUTS = st.sampled_from([1, 4, 5, 6, 17, 1 << 16]) | st.integers(1, 40_000)


@settings(max_examples=60)
@given(
    version=st.sampled_from(["1.2", "1.3"]),
    sizes=st.lists(SIZES, max_size=6),
    cuts=st.lists(CUTS, max_size=12),
    at_ends=st.booleans(),
)
def test_however_records_are_cut_their_plaintext_is_there_as_soon_as_they_are_whole(
    established: Callable[[str], Pair], version: str, sizes: list[int], cuts: list[int], *, at_ends: bool
) -> None:
    """`at_ends`: what is read ends at an end of a record wherever it comes close to one, as it usually does."""
    pair = established(version)
    stream, plain, said = b"", b"", {0: b""}  # by how much of the stream is here, the plaintext that is whole
    for number, size in enumerate(sizes):
        plain += bytes([number]) * size
        assert pair.client.send(bytes([number]) * size) == size
        stream += pair.from_client()
        said[len(stream)] = plain
    body = len(stream)
    pair.client.shutdown()
    stream += pair.from_client()
    ends, at, heard = [*said, len(stream)], 0, b""
    for cut in (*cuts, len(stream)):
        to = min(at + cut, len(stream))
        if at_ends:
            to = max([end for end in ends if at < end <= to + 30], default=to)
        heard += pair.engine.receive(stream[at:to])
        at = to
        assert heard == said[max(end for end in said if end <= at)]
        assert pair.engine.eof == (at == len(stream))
    assert heard == plain
    assert body < at == len(stream)


@settings(max_examples=60)
@given(
    sizes=st.lists(SIZES, max_size=3),
    cuts=st.lists(st.integers(1, 120) | st.integers(1, 20_000), min_size=1, max_size=4),
    leaves=st.booleans(),
)
def test_what_comes_with_the_end_of_the_handshake_outlives_its_settling(
    tls: ServerTls, pki: Pki, sizes: list[int], cuts: list[int], *, leaves: bool
) -> None:
    """TLS 1.3 lets a client speak, and leave, behind its Finished: cut anywhere, all of it is there in the end."""
    pair = Pair(tls, pki.client)
    with pytest.raises(SSL.WantReadError):
        pair.client.do_handshake()
    pair.engine.receive(pair.from_client())
    pair.client.bio_write(pair.engine.outgoing())
    pair.client.do_handshake()
    for size in sizes:
        pair.client.send(b"x" * size)
    if leaves:
        pair.client.shutdown()
    flight, heard, has_settled = pair.from_client(), b"", False
    for cut in (*cuts, len(flight)):
        piece, flight = flight[:cut], flight[cut:]
        heard += pair.engine.receive(piece)
        if pair.engine.established and not has_settled:
            has_settled = True
            pair.client.bio_write(pair.engine.outgoing())
            pair.engine.settle()
    assert heard == b"x" * sum(sizes)
    assert pair.engine.eof == leaves
    pair.client.bio_write(pair.engine.send(b"answer") + pair.engine.shutdown())
    assert pair.client.recv(100) == b"answer"


@pytest.fixture(scope="module")
def secrets(tls: ServerTls, pki: Pki) -> Callable[[], tuple[OpenSslEngine, Sealer]]:
    """An established engine, and a client's sealer for it."""

    def make() -> tuple[OpenSslEngine, Sealer]:
        pair, sealer = sealed_pair(tls, pki.client)
        assert isinstance(pair.engine, OpenSslEngine)
        return pair.engine, sealer

    return make


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6, 100])
def test_ciphertext_that_looks_like_the_beginning_of_a_record_hides_nothing(
    secrets: Callable[[], tuple[OpenSslEngine, Sealer]], at: int
) -> None:
    """A client knows the keys, and so chooses what its ciphertext is: what it seems to be must not be believed."""
    engine, sealer = secrets()
    record, content = sealer.disguised(at, behind=23)
    stream = record + sealer.record(23, b"x", 0)
    begun, rest = stream[:at], stream[at:]
    assert int.from_bytes(rest[3:5], "big") + 5 == len(rest)
    assert engine.receive(begun) == b""
    assert engine.receive(rest) == content + b"x"
    assert engine.receive(sealer.record(23, b"y", 0)) == b"y"


PADDED = st.tuples(st.just("data"), st.sampled_from([0, 1, 100, 16383, 16384]), st.sampled_from([0, 1, 300]))
OTHER = st.tuples(st.sampled_from(["asks for new keys", "has new keys"]), st.just(0), st.just(0))


@settings(max_examples=60)
@given(st.lists(PADDED | OTHER, min_size=1, max_size=6), st.lists(CUTS, max_size=8), st.booleans())
def test_records_that_are_empty_or_padded_or_bring_new_keys_hold_nothing_back(
    secrets: Callable[[], tuple[OpenSslEngine, Sealer]],
    records: list[tuple[str, int, int]],
    cuts: list[int],
    one_by_one: bool,
) -> None:
    engine, sealer = secrets()
    stream, plain, said = b"", b"", {0: b""}
    for kind, size, padding in records:
        if kind == "data":
            data = bytes([len(said)]) * size
            stream += sealer.record(23, data, min(padding, 16384 - size))
            plain += data
        else:
            stream += sealer.key_update(is_requested=kind == "asks for new keys")
        said[len(stream)] = plain
    heard, ends = b"", [*said][1:]
    places = ends if one_by_one else sorted({min(sum(cuts[: n + 1]), len(stream)) for n in range(len(cuts))})
    at = 0
    for to in (*places, len(stream)):
        heard += engine.receive(stream[at:to])
        at = to
        assert heard == said[max(end for end in said if end <= at)]
    assert heard == plain
    assert not engine.eof


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


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_chain_that_nobody_asks_about_is_not_verified(tls: ServerTls, version: str) -> None:
    """30 signatures of RSA-8192 are a lot of work for whoever has us do it."""
    authorities = [Authority.root()]
    for number in range(20):
        authorities.append(authorities[-1].intermediate(f"authority {number}"))
    leaf = authorities[-1].issue()
    pair = Pair(tls, replace(leaf, chain=tuple(each.certificate for each in reversed(authorities))), version)
    pair.shake_hands()
    certificate = pair.engine.client_certificate()
    assert certificate is not None
    assert certificate.thumbprint == digest(leaf)
    # OpenSSL looks one step up, for an anchor, whatever the depth.
    assert len(pair.engine._made.get_verified_chain() or []) <= 2
    assert len(pair.engine.chain()) == 22, "the client did send them"
