"""The PROXY protocol: who may speak it, and what it may say."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.certificate_field import CertificateFormat
from sidecar.proxy.client.proxy_protocol import Incomplete, NotProxyProtocol, read_preface
from sidecar.proxy.configuration import HTTP1, Limits, ToldCertificateSettings, TrustedProxy
from sidecar.proxy.tls.plain import PlainText
from tests.proxy.conftest import Converse
from tests.support.cleartext import HANDSHAKE, CleartextTls, seal
from tests.support.conversation import LISTENER, Conversation

V1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((0x20 | command, family)) + len(body).to_bytes(2) + body


V2_IPV4 = v2(1, 0x11, bytes((203, 0, 113, 9, 192, 0, 2, 1)) + (56324).to_bytes(2) + (443).to_bytes(2))
V2_IPV6 = v2(
    1,
    0x21,
    bytes.fromhex("20010db8") + bytes(11) + b"\x09" + bytes(16) + (56324).to_bytes(2) + (443).to_bytes(2),
)
GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"


@pytest.mark.parametrize(
    ("preface", "peer"),
    [
        (V1, ("203.0.113.9", 56324)),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 56324 443\r\n", ("2001:db8::9", 56324)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (V2_IPV4, ("203.0.113.9", 56324)),
        (V2_IPV6, ("2001:db8::9", 56324)),
        (v2(1, 0x11, V2_IPV4[16:] + b"\x04\x00\x01x"), ("203.0.113.9", 56324)),
        (v2(0, 0x00, b""), None),
        (v2(0, 0x11, V2_IPV4[16:]), None),
        (v2(1, 0x00, b""), None),
    ],
)
def test_preface_names_the_client(preface: bytes, peer: tuple[str, int] | None) -> None:
    assert read_preface(preface + b"rest") == (peer, b"rest")
    for size in range(1, len(preface)):
        with pytest.raises(Incomplete):
            read_preface(preface[:size])


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\n",
        b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 2001:db8::9 1.2.3.4 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 " + b"1" * 100,
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\xff\xff",
        v2(1, 0x11, b"short"),
        v2(1, 0x31, bytes(216)),
        v2(1, 0x12, bytes(12)),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(NotProxyProtocol):
        read_preface(data)


@given(
    st.binary(max_size=300)
    | st.binary(max_size=80).map(lambda tail: SIGNATURE + tail)
    | st.binary(max_size=80).map(lambda tail: b"PROXY " + tail)
)
def test_any_bytes_are_a_preface_or_not(data: bytes) -> None:
    try:
        peer, rest = read_preface(data)
    except (Incomplete, NotProxyProtocol):
        return
    assert data.endswith(rest)
    assert peer is None or 0 <= peer[1] <= 65535


@pytest.fixture
def behind_balancer(converse: Converse) -> Conversation:
    return converse(listener=replace(LISTENER, proxy_protocol_from=(ip_network("192.0.2.0/24"),)))


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("preface", [V1, V2_IPV4])
def test_listed_peer_says_who_the_client_is(behind_balancer: Conversation, preface: bytes, size: int) -> None:
    client = behind_balancer.client(shakes_hands=False)
    stream = preface + seal(HANDSHAKE, b"hello")
    for start in range(0, len(stream), size):
        client.sends(stream[start : start + size])
    client.says(GET)
    request = behind_balancer.upstream().request()
    assert request is not None
    assert request.all("x-forwarded-for") == ["203.0.113.9"]
    assert behind_balancer.gate.presenters[0].peer == "203.0.113.9:56324"


def test_connections_are_counted_for_the_client_behind_the_balancer(converse: Converse) -> None:
    talk = converse(
        listener=replace(LISTENER, proxy_protocol_from=(ip_network("192.0.2.0/24"),)),
        limits=Limits(connections_per_address=1),
    )
    prefaces = [V1, V1.replace(b"113.9", b"113.8"), V1, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN\r\n"]
    clients = [talk.client(shakes_hands=False) for _ in prefaces]
    for client, preface in zip(clients, prefaces, strict=True):
        client.sends(preface)
    assert [client.is_closed for client in clients] == [False, False, True, False, False]
    assert ("connection_refused", "too many connections of 203.0.113.9") in talk.observed.incidents


def test_listed_peer_must_say_it(behind_balancer: Conversation) -> None:
    client = behind_balancer.client()
    assert client.was_cut
    assert [result for result, _ in behind_balancer.observed.handshakes] == ["proxy_protocol"]


def test_listed_peer_that_speaks_for_itself_is_the_client(behind_balancer: Conversation) -> None:
    client = behind_balancer.client(shakes_hands=False)
    client.sends(b"PROXY UNKNOWN\r\n")
    client.shakes_hands()
    client.says(GET)
    request = behind_balancer.upstream().request()
    assert request is not None
    assert request.all("x-forwarded-for") == ["192.0.2.7"]


def test_preface_of_anybody_else_is_not_tls(behind_balancer: Conversation) -> None:
    client = behind_balancer.client(peer=("198.51.100.1", 4000), shakes_hands=False)
    client.sends(V1)
    assert [result for result, _ in behind_balancer.observed.handshakes] == ["not_tls"]
    behind_balancer.later(2.5)  # it may still be sending
    assert client.is_closed


def test_preface_that_does_not_end_meets_the_deadline(behind_balancer: Conversation) -> None:
    client = behind_balancer.client(shakes_hands=False)
    client.sends(b"PROXY ")
    behind_balancer.later(11)
    assert client.was_cut
    assert behind_balancer.observed.handshakes == [("timeout", "")]


class NoTls(CleartextTls):
    """A listener that speaks plaintext."""

    def engine(self) -> PlainText:  # type: ignore[override]
        return PlainText()

    def again(self) -> "NoTls":
        return self


@pytest.fixture
def in_plaintext(monkeypatch: pytest.MonkeyPatch) -> Iterator[Conversation]:
    """A listener behind a balancer that ends TLS."""
    monkeypatch.setattr("tests.support.conversation.CleartextTls", NoTls)
    proxies = ip_network("192.0.2.0/24")
    told = ToldCertificateSettings(
        CertificateFormat.RFC9440, "Client-Cert", "", (TrustedProxy(network=proxies),)
    )
    listener = replace(LISTENER, tls=None, told=told, proxy_protocol_from=(proxies,), protocols=(HTTP1,))
    with Conversation(listener=listener) as talk:
        yield talk


@pytest.mark.parametrize("body", [b"", b"x" * 5000])
def test_request_of_a_plaintext_client_that_ends_before_its_turn_is_answered(
    body: bytes, in_plaintext: Conversation
) -> None:
    client = in_plaintext.client(shakes_hands=False)
    head = b"PUT /a HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n" % len(body)
    client.transport.arrive(b"PROXY TCP4 203.0.113.1 192.0.2.7 1 2\r\n" + head + body)
    client.leaves()
    upstream = in_plaintext.upstream()
    assert upstream.hears_all().endswith(b"\r\n\r\n" + body)
    upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.transport.taken.endswith(b"\r\n\r\nok")
    assert client.is_closed
    assert in_plaintext.outcomes == [("/a", 200, "")]


def test_plaintext_client_that_ends_with_half_a_request_before_its_turn_has_left(
    in_plaintext: Conversation,
) -> None:
    client = in_plaintext.client(shakes_hands=False)
    client.transport.arrive(b"PROXY TCP4 203.0.113.1 192.0.2.7 1 2\r\nGET /a HTTP/1.1\r\n")
    client.leaves()
    assert client.is_closed
    assert in_plaintext.untouched
