"""TLS on real sockets: whom a listener accepts, and what a refused client hears."""

import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import AtHandshake, Timeouts, Trust
from sidecar.proxy.tls import ServerTls
from tests.support.live_server import LiveServer, digest, tls_settings
from tests.support.pki import (
    HOUR,
    Authority,
    Identity,
    Pki,
    Profile,
    certificate_pem,
    make_key,
    self_signed,
    utc_now,
)
from tests.support.tls_client import TLS12, Wire, client_context, versioned

IN_ORDER = pytest.mark.parametrize("version", ["1.2", "1.3"])


def asks(server: LiveServer, identity: Identity | None, version: str = "1.3", index: int = 0) -> int:
    """The status of one request, refused by the double: what matters is who was seen to ask."""
    server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
    with Wire.tls(server.port(index), context=versioned(identity, version)) as wire:
        return wire.request().status


def alert(server: LiveServer, identity: Identity | None, version: str = "1.3") -> str:
    """The alert that a refused client hears, as OpenSSL names it."""
    with pytest.raises(ssl.SSLError) as failure:
        asks(server, identity, version)
    return str(failure.value.reason)


# --- trust: any


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[LiveServer]:
    with LiveServer(tls_settings(tmp_path_factory.mktemp("open"), pki)) as server:
        yield server


STRANGE: Mapping[str, Callable[[Pki], Identity]] = {
    "self-signed": lambda pki: pki.self_signed_client,
    "unknown authority": lambda pki: pki.stranger,
    "expired": lambda pki: pki.client_authority.expired(),
    "not yet valid": lambda pki: pki.client_authority.not_yet_valid(),
    "for servers": lambda pki: pki.server,
    "an authority": lambda pki: pki.client_authority,
    "Ed25519": lambda _: self_signed(key=make_key("Ed25519")),
    "P-384": lambda _: self_signed(key=make_key("P-384")),
    "RSA-2048": lambda _: self_signed(key=make_key("RSA-2048")),
    "intermediate missing": lambda pki: replace(pki.client_authority.intermediate().issue(), chain=()),
}


@IN_ORDER
@pytest.mark.parametrize("kind", STRANGE)
def test_possession_is_enough_for_trust_any(
    open_server: LiveServer, pki: Pki, kind: str, version: str
) -> None:
    identity = STRANGE[kind](pki)
    assert asks(open_server, identity, version) == 401
    assert open_server.thumbprints()[-1] == digest(identity)


@IN_ORDER
def test_client_without_certificate_is_accepted_where_it_is_optional(
    open_server: LiveServer, version: str
) -> None:
    assert asks(open_server, None, version) == 401
    assert open_server.thumbprints()[-1] is None


def test_key_too_small_to_prove_possession_is_refused(open_server: LiveServer) -> None:
    weak = self_signed(key=make_key("RSA-1024"))
    client = client_context(None)
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    before = len(open_server.observed.handshakes)
    with pytest.raises(ssl.SSLError):
        _ask_with(open_server, client, weak)
    assert open_server.handshakes(before + 1)[-1] == ("certificate_refused", "EE certificate key too weak")


def _ask_with(server: LiveServer, client: ssl.SSLContext, identity: Identity) -> int:
    with tempfile.TemporaryDirectory() as folder:
        files = identity.write(Path(folder), "client")
        client.load_cert_chain(files.certificate, files.private_key)
    with Wire.tls(server.port(), context=client) as wire:
        return wire.request().status


# --- trust: ca


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[LiveServer]:
    settings = tls_settings(
        tmp_path_factory.mktemp("closed"), pki, trust=Trust.CA, at_handshake=AtHandshake.REQUIRED
    )
    with LiveServer(settings) as server:
        yield server


@IN_ORDER
def test_certificate_of_the_authority_is_accepted(closed_server: LiveServer, pki: Pki, version: str) -> None:
    chained = pki.client_authority.intermediate().issue()
    for identity in (pki.client, chained):
        assert asks(closed_server, identity, version) == 401
        assert closed_server.thumbprints()[-1] == digest(identity)


REFUSED: Mapping[str, tuple[Callable[[Pki], Identity], str, str]] = {
    "self-signed": (lambda pki: pki.self_signed_client, "UNKNOWN_CA", "self-signed certificate"),
    "unknown authority": (lambda pki: pki.stranger, "UNKNOWN_CA", "unable to get local issuer certificate"),
    "expired": (lambda pki: pki.client_authority.expired(), "CERTIFICATE_EXPIRED", "certificate has expired"),
    "not yet valid": (
        lambda pki: pki.client_authority.not_yet_valid(),
        "BAD_CERTIFICATE",
        "certificate is not yet valid or the system clock is incorrect",
    ),
    "for servers": (
        lambda pki: pki.client_authority.issue(Profile(usages=(ExtendedKeyUsageOID.SERVER_AUTH,))),
        "UNSUPPORTED_CERTIFICATE",
        "unsuitable certificate purpose",
    ),
}


@IN_ORDER
@pytest.mark.parametrize("kind", REFUSED)
def test_refused_client_hears_why_and_so_does_the_log(
    closed_server: LiveServer, pki: Pki, kind: str, version: str
) -> None:
    make, named, reason = REFUSED[kind]
    before = len(closed_server.observed.handshakes)
    assert named in alert(closed_server, make(pki), version)
    assert closed_server.handshakes(before + 1)[-1] == ("certificate_refused", reason)


@pytest.mark.parametrize(
    ("version", "named"), [("1.2", "HANDSHAKE_FAILURE"), ("1.3", "CERTIFICATE_REQUIRED")]
)
def test_client_without_certificate_is_refused_where_it_is_required(
    closed_server: LiveServer, version: str, named: str
) -> None:
    before = len(closed_server.observed.handshakes)
    assert named in alert(closed_server, None, version)
    assert closed_server.handshakes(before + 1)[-1][0] == "certificate_missing"


def test_optional_certificate_that_does_not_verify_is_refused(tmp_path: Path, pki: Pki) -> None:
    with LiveServer(tls_settings(tmp_path, pki, trust=Trust.CA)) as server:
        assert asks(server, None) == 401
        assert "UNKNOWN_CA" in alert(server, pki.stranger)


def test_revoked_certificate_is_refused(tmp_path: Path, pki: Pki) -> None:
    crl = tmp_path / "clients.crl"
    crl.write_bytes(pki.client_authority.revocation_list(pki.other_client))
    with LiveServer(tls_settings(tmp_path, pki, trust=Trust.CA, crl_file=crl)) as server:
        assert asks(server, pki.client) == 401
        assert "CERTIFICATE_REVOKED" in alert(server, pki.other_client)
        assert server.handshakes(2)[-1] == ("certificate_refused", "certificate revoked")


def test_revocation_list_that_ran_out_refuses_all(tmp_path: Path, pki: Pki) -> None:
    crl = tmp_path / "clients.crl"
    crl.write_bytes(pki.client_authority.revocation_list(not_after=utc_now() - HOUR))
    with LiveServer(tls_settings(tmp_path, pki, trust=Trust.CA, crl_file=crl)) as server:
        assert alert(server, pki.client)
        assert server.handshakes(1)[-1] == ("certificate_refused", "CRL has expired")


def test_unusable_files_are_an_error_before_any_port_is_open(tmp_path: Path, pki: Pki) -> None:
    other = pki.client.write(tmp_path, "other")
    broken = tmp_path / "broken.pem"
    broken.write_bytes(b"nothing")
    for changes in (
        {"private_key_file": other.private_key},
        {"certificate_file": broken},
        {"private_key_file": tmp_path / "missing"},
        {"trust": Trust.CA, "ca_file": broken},
        {"trust": Trust.CA, "ca_file": None},
        {"trust": Trust.CA, "crl_file": broken},
    ):
        with pytest.raises((OSError, SSL.Error, ValueError)):
            ServerTls(tls_settings(tmp_path, pki, **changes), "main")
    ServerTls(tls_settings(tmp_path, pki), "main").engine()


# --- the protocol


def s_client(server: LiveServer, *options: str, says: bytes = b"") -> str:
    """What `openssl s_client` prints of a connection."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port()}", *options]
    return subprocess.run(
        command, input=says, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
    ).stdout.decode(errors="replace")


def test_openssl_names_the_alert_of_a_failed_handshake(
    closed_server: LiveServer, tmp_path: Path, pki: Pki
) -> None:
    files = pki.stranger.write(tmp_path, "stranger")
    expired = pki.client_authority.expired().write(tmp_path, "expired")
    assert "alert certificate required" in s_client(closed_server, "-ign_eof")
    who = ["-ign_eof", "-cert", str(files.certificate), "-key", str(files.private_key)]
    assert "alert unknown ca" in s_client(closed_server, *who)
    assert "alert unknown ca" in s_client(closed_server, *who, "-tls1_2")
    who = ["-ign_eof", "-cert", str(expired.certificate), "-key", str(expired.private_key)]
    assert "alert certificate expired" in s_client(closed_server, *who)


def test_renegotiation_is_refused(open_server: LiveServer) -> None:
    output = s_client(open_server, "-tls1_2", says=b"R\n")
    assert "no renegotiation" in output


def test_early_data_is_not_taken(open_server: LiveServer, tmp_path: Path) -> None:
    session, early = tmp_path / "session", tmp_path / "early"
    early.write_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    open_server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
    s_client(open_server, "-ign_eof", "-sess_out", str(session), says=request)
    asked = len(open_server.gate.asked)
    output = s_client(open_server, "-sess_in", str(session), "-early_data", str(early))
    assert "Early data was not sent" in output
    assert len(open_server.gate.asked) == asked


@pytest.mark.parametrize("offered", [("http/1.1",), ("h2", "http/1.1"), ()])
def test_http_1_1_is_what_is_spoken(open_server: LiveServer, pki: Pki, offered: tuple[str, ...]) -> None:
    with Wire.tls(open_server.port(), context=client_context(pki.client, alpn=offered)) as wire:
        assert wire.secure.selected_alpn_protocol() == ("http/1.1" if offered else None)


@IN_ORDER
def test_client_that_speaks_something_else_hears_so(open_server: LiveServer, pki: Pki, version: str) -> None:
    before = len(open_server.observed.handshakes)
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        Wire.tls(open_server.port(), context=versioned(pki.client, version, alpn=("h2",)))
    assert open_server.handshakes(before + 1)[-1][0] == "no_application_protocol"


def test_ciphers_without_forward_secrecy_are_refused(open_server: LiveServer) -> None:
    client = client_context(None, maximum=TLS12, ciphers="AES128-GCM-SHA256:@SECLEVEL=0")
    before = len(open_server.observed.handshakes)
    with pytest.raises(ssl.SSLError):
        Wire.tls(open_server.port(), context=client)
    assert open_server.handshakes(before + 1)[-1][0] == "no_shared_cipher"


def test_minimum_version_is_kept(tmp_path: Path, pki: Pki) -> None:
    with LiveServer(tls_settings(tmp_path, pki, minimum_version="1.3")) as server:
        with pytest.raises(ssl.SSLError):
            asks(server, None, "1.2")
        assert asks(server, None, "1.3") == 401
        assert server.handshakes(1)[0][0] == "unsupported_protocol"


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "plain_http"),
        (b"\x00" * 50, "not_tls"),
        (b"SSH-2.0-x\r\n", "not_tls"),
    ],
)
def test_what_is_not_tls_is_named_and_ends(open_server: LiveServer, said: bytes, result: str) -> None:
    before = len(open_server.observed.handshakes)
    with Wire.plain(open_server.port()) as wire:
        wire.send(said)
        wire.read_to_end()
    assert open_server.handshakes(before + 1)[-1][0] == result


@pytest.mark.field_cases
@pytest.mark.parametrize(
    "method",
    ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "M-SEARCH", "get", "PRI"],
)
def test_request_in_the_clear_is_answered_in_the_clear(open_server: LiveServer, method: str) -> None:
    with Wire.plain(open_server.port()) as wire:
        wire.send(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head, _, text = wire.read_to_end().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert f"Content-Length: {len(text)}".encode() in head
    assert text == b"This port speaks HTTPS: the request came without TLS"


def test_request_in_the_clear_that_comes_byte_by_byte_is_answered_in_the_clear(
    open_server: LiveServer,
) -> None:
    with Wire.plain(open_server.port()) as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"DELETE /":
            wire.send(bytes([byte]))
        assert wire.read_to_end().startswith(b"HTTP/1.1 400 ")


def test_handshake_has_a_deadline(tmp_path: Path, pki: Pki) -> None:
    with (
        LiveServer(tls_settings(tmp_path, pki), timeouts=Timeouts(handshake=0.3)) as server,
        Wire.plain(server.port()) as silent,
        Wire.plain(server.port()) as slow,
    ):
        slow.send(b"\x16\x03\x01")
        assert silent.read_to_end() == b""
        assert slow.read_to_end() == b""
        assert [result for result, _ in server.handshakes(2)] == ["timeout", "timeout"]


def ended_in_order(wire: Wire) -> bool:
    """Whether the server's stream ended with close_notify."""
    try:
        # Ending our half waits for the peer's close_notify.
        wire.secure.unwrap()
    except (ssl.SSLError, OSError):
        return False
    return True


def test_connection_ends_with_close_notify(open_server: LiveServer) -> None:
    open_server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
    with Wire.tls(open_server.port()) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert wire.response().status == 401
        assert ended_in_order(wire)


def test_aborted_connection_does_not(tmp_path: Path, pki: Pki) -> None:
    with LiveServer(tls_settings(tmp_path, pki)) as server, Wire.tls(server.port()) as wire:
        (connection,) = server.server._connections
        server.call(connection.abort)
        assert not ended_in_order(wire)


def test_garbage_after_the_handshake_is_answered_with_an_alert(open_server: LiveServer) -> None:
    with Wire.tls(open_server.port()) as wire:
        raw = socket.socket(fileno=socket.dup(wire.secure.fileno()))
        raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        raw.close()
        with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac|alert"):
            wire.read_some()


@IN_ORDER
def test_certificate_is_judged_again_when_the_authorities_change(
    tmp_path: Path, pki: Pki, version: str
) -> None:
    old = tls_settings(tmp_path / "old", pki, trust=Trust.CA, close_on_ca_change=True)
    new = tls_settings(tmp_path / "new", pki, trust=Trust.CA, close_on_ca_change=True)
    assert new.ca_file is not None
    with LiveServer(old) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        chained = pki.client_authority.intermediate().issue()
        wires = [
            Wire.tls(server.port(), context=versioned(one, version)) for one in (pki.client, chained, None)
        ]
        assert [wire.request().status for wire in wires] == [401] * 3
        server.reload(new)
        assert [wire.request().status for wire in wires] == [401] * 3
        new.ca_file.write_bytes(certificate_pem(pki.server_authority.certificate))
        server.reload(new)
        *with_certificate, without = wires
        assert [wire.is_closed_by_peer() for wire in with_certificate] == [True, True]
        assert without.request().status == 401
        for wire in wires:
            wire.close()


def huge_key() -> rsa.RSAPrivateKey:
    """RSA of 8676 bits, of two Mersenne primes: finding others takes a minute."""
    p, q, e = 2**4253 - 1, 2**4423 - 1, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPublicNumbers(e, p * q)
    private = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), numbers)
    return private.private_key(unsafe_skip_rsa_key_validation=True)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_key_too_large_to_be_worth_the_work_is_refused(open_server: LiveServer, version: str) -> None:
    huge = huge_key()
    authority = Authority.root(key=huge)
    before = len(open_server.observed.handshakes)
    for identity in (self_signed(key=huge), replace(authority.issue(), chain=(authority.certificate,))):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            asks(open_server, identity, version)
    result = ("certificate_refused", "a key of more than 8192 bits")
    assert open_server.handshakes(before + 2)[before:] == [result, result]
