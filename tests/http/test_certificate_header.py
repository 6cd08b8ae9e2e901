"""The client certificate as the API gets it: always the sidecar's own word, in the format that the settings name."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from sidecar.decision.request import ClientCertificate, Presenter
from sidecar.http.certificate_field import LONGEST, CertificateFormat, FieldCertificates, parse
from sidecar.http.certificate_header import CertificateHeader
from sidecar.http.lines import NO_FIELDS
from sidecar.proxy.configuration import CertificateHeaderSettings
from tests.proxy.conftest import Converse, converse
from tests.support.configuration import ISSUER, SERVICE, Configuration
from tests.support.conversation import UPSTREAM, Conversation
from tests.support.pki import Identity, Pki, Profile, certificate_der, self_signed

__all__ = ["converse"]

OK = b"HTTP/1.1 200 OK\r\nVary: Accept\r\nContent-Length: 0\r\n\r\n"
Telling = Callable[[CertificateFormat], Conversation]


@pytest.fixture
def telling(converse: Converse) -> Telling:
    """A conversation whose API is told the certificate in `X-Cert`."""
    return lambda form: converse(
        upstream=replace(UPSTREAM, client_certificate_header=CertificateHeaderSettings(form, "X-Cert"))
    )


def told(talk: Conversation, identity: Identity | None, fields: bytes = b"") -> list[bytes]:
    """The values of X-Cert that the API gets."""
    client = talk.client(identity)
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\n" + fields + b"\r\n")
    upstream = talk.upstream()
    heard = upstream.hears_all()
    upstream.says(OK)
    assert b"Vary: Accept\r\nContent-Length: 0\r\nVary: X-Cert\r\n" in client.hears()
    client.leaves()
    upstream.leaves()
    lines = heard.split(b"\r\n")
    return [line.partition(b": ")[2] for line in lines if line.lower().startswith(b"x-cert:")]


@pytest.mark.parametrize("form", CertificateFormat)
def test_api_gets_the_certificate_of_the_client_that_asks(
    telling: Telling, form: CertificateFormat, pki: Pki
) -> None:
    talk = telling(form)
    for identity in (pki.client, pki.other_client, pki.client):
        (value,) = told(talk, identity)
        assert parse(form, [value]) == FieldCertificates(identity.der)
    assert told(talk, None) == []


@pytest.mark.parametrize("name", [b"X-Cert", b"x-cert", b"X_Cert", b"X.Cert"])
def test_what_the_client_says_itself_never_arrives(telling: Telling, name: bytes, pki: Pki) -> None:
    talk = telling(CertificateFormat.DER_BASE64)
    forged = name + b": forged\r\n"
    for identity, expected in ((None, 0), (pki.client, 1)):
        values = told(talk, identity, forged * 2)
        assert len(values) == expected
        assert b"forged" not in values


def test_chain_of_the_clients_own_never_arrives_either(converse: Converse, pki: Pki) -> None:
    header = CertificateHeaderSettings(CertificateFormat.RFC9440, "Client-Cert")
    talk = converse(upstream=replace(UPSTREAM, client_certificate_header=header))
    talk.client(pki.client).says(
        b"GET /a HTTP/1.1\r\nHost: api\r\nClient-Cert-Chain: :AAAA:\r\nClient-Cert: :AAAA:\r\n\r\n"
    )
    heard = talk.upstream().hears_all()
    assert heard.count(b"Client-Cert") == 1
    assert b"AAAA:\r\n" not in heard


def test_nothing_is_told_and_nothing_varies_by_default(converse: Converse, pki: Pki) -> None:
    talk = converse()
    client = talk.client(pki.client)
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n")
    upstream = talk.upstream()
    assert upstream.hears() == b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
    upstream.says(OK)
    assert client.hears() == OK


def test_certificate_that_is_too_large_for_a_field_is_refused(telling: Telling) -> None:
    large = self_signed(Profile(names=tuple(x509.DNSName(f"{number:0>60}.example") for number in range(200))))
    talk = telling(CertificateFormat.DER_BASE64)
    client = talk.client(large)
    client.says(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n")
    assert client.answer().status == 403
    assert talk.untouched
    assert len(certificate_der(large.certificate)) * 4 / 3 > LONGEST


def test_lines_are_remembered_in_bounded_number(pki: Pki) -> None:
    header = CertificateHeader(CertificateFormat.RFC9440, "Client-Cert")
    certificate = Presenter(ClientCertificate(pki.client.der, (0.0, 1.0)), "main", "192.0.2.1:4711")
    assert header.block(certificate) is header.block(certificate)
    header._made = {bytes([at & 255, at >> 8]): NO_FIELDS for at in range(1024)}
    header.block(certificate)
    assert len(header._made) == 1


@pytest.mark.parametrize("tells_chain", [False, True])
def test_large_certificates_of_whoever_connects_take_a_bounded_part_of_the_memory(
    pki: Pki, *, tells_chain: bool
) -> None:
    """With a public rule and any certificate accepted, a client may bring another one for each connection."""
    header = CertificateHeader(
        CertificateFormat.RFC9440, "Client-Cert", "Client-Cert-Chain", tells_chain=tells_chain
    )
    usual = Presenter(pki.client.presented, "main", "192.0.2.1:4711")
    tracemalloc.start()
    for at in range(1500):
        der = pki.client.der + at.to_bytes(2) * 4500
        large = Presenter(ClientCertificate(der, (0.0, 1.0)), "main", "192.0.2.1:4711", chain=(der, der))
        header.block(large)
        assert header.block(usual)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held <= 10 << 20


def test_chain_is_that_of_the_very_request_and_selects_the_response(pki: Pki) -> None:
    """One leaf may come with one chain or another."""
    header = CertificateHeader(
        CertificateFormat.RFC9440, "Client-Cert", "Client-Cert-Chain", tells_chain=True
    )
    assert header.selects == b"Client-Cert, Client-Cert-Chain"
    leaf, first, second = pki.client.presented, pki.client_authority.der, pki.server_authority.der
    for chain in ((first,), (second, first), (), (first,)):
        block = header.block(Presenter(leaf, "main", "192.0.2.1:4711", chain=chain))
        assert block is not None
        told = dict(line.split(b": ", 1) for line in block.lines.split(b"\r\n")[:-1])
        values = [told[b"Client-Cert-Chain"]] if chain else []
        assert parse(CertificateFormat.RFC9440, [told[b"Client-Cert"]], values) == FieldCertificates(
            leaf.der, chain
        )


@pytest.fixture
def configuration(tmp_path: Path, pki: Pki) -> Configuration:
    return Configuration.create(tmp_path, pki)


def with_header(configuration: Configuration, header: str, url: str = "http://127.0.0.1:8080") -> list[str]:
    configuration.write_service(
        SERVICE.replace(
            '{url: "http://127.0.0.1:8080"}',
            f'{{url: "{url}", client_certificate_header: {header}, identity_headers: {{X-Sub: sub}}}}',
        )
    )
    return configuration.said()


@pytest.mark.parametrize(
    ("header", "form", "name"),
    [
        ("{format: rfc9440}", "rfc9440", "Client-Cert"),
        ("{format: xfcc}", "xfcc", "X-Forwarded-Client-Cert"),
        ("{format: pem_urlencoded, name: SSL-Client}", "pem_urlencoded", "SSL-Client"),
    ],
)
def test_settings_name_the_format_and_the_field(
    configuration: Configuration, header: str, form: str, name: str
) -> None:
    for url in (
        "http://127.0.0.1:8080",
        "http://localhost:1",
        "https://api.internal",
        "unix:///run/api.sock",
    ):
        assert with_header(configuration, header, url) == []
        found = configuration.load().proxy
        assert found.upstream.client_certificate_header == CertificateHeaderSettings(
            CertificateFormat(form), name
        )
        assert {name, "X-Sub"} <= found.identity_names


@pytest.mark.parametrize(
    ("header", "url", "said"),
    [
        ("{format: der_base64}", "http://127.0.0.1:8080", "`der_base64` has no default name"),
        ("{format: rfc9440, name: Host}", "http://127.0.0.1:8080", "cannot carry a certificate"),
        ("{format: rfc9440, name: x-sub}", "http://127.0.0.1:8080", "is among `identity_headers`"),
        ("{format: rfc9440}", "http://api.internal:8080", "could send any certificate"),
        ("{format: rfc9440}", "http://10.0.0.1:8080", "could send any certificate"),
        ("{format: pem}", "http://127.0.0.1:8080", "rfc9440"),
    ],
)
def test_settings_that_would_be_believed_wrongly_are_refused(
    configuration: Configuration, header: str, url: str, said: str
) -> None:
    (problem,) = with_header(configuration, header, url)
    assert said in problem


def test_claim_of_a_rule_cannot_take_the_certificates_name(configuration: Configuration) -> None:
    configuration.write_policy(
        ISSUER + "rules:\n  - {name: a, match: {path: /a}, identity_headers: {client-cert-chain: sub}}\n"
    )
    (problem,) = with_header(configuration, "{format: rfc9440}")
    assert "`Client-Cert-Chain` is among the `identity_headers` of a rule" in problem
