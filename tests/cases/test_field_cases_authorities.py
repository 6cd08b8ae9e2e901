"""An authority as `openssl req -x509` makes one is trusted for an issuer and for an API, on every version of Python."""

import asyncio
import socket
import ssl
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sidecar.issuer.configuration import HttpSettings
from sidecar.issuer.http import FetchFailed, HttpClient
from sidecar.proxy.configuration import UpstreamSettings, UpstreamTlsSettings
from tests.contracts.upstream_transport import connected, echo, serving
from tests.proxy.upstream.test_client_context import bare, stock
from tests.support.issuer import ScriptedIssuer, server_context
from tests.support.pki import Identity, certificate_pem

NAMES = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])


def of_today(folder: Path) -> Identity:
    """As the configuration that comes with OpenSSL makes one: with key identifiers, without keyUsage."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=today", "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.crt")]
    subprocess.run(command, check=True, capture_output=True)
    key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    return Identity(x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes()), key)  # type: ignore[arg-type]


@pytest.fixture(params=["of old", "of today"])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Identity:
    made = stock(tmp_path) if request.param == "of old" else of_today(tmp_path)
    (tmp_path / "trusted.crt").write_bytes(certificate_pem(made.certificate))
    return made


@pytest.mark.parametrize("strict", [False, True])
def test_stock_authority_vouches_for_an_issuer(authority: Identity, tmp_path: Path, *, strict: bool) -> None:
    settings = HttpSettings(ca_file=tmp_path / "trusted.crt", strict_certificates=strict)

    async def fetch(url: str) -> bytes:
        client = HttpClient.create(settings)
        try:
            return (await client.get(url, "application/json")).body
        finally:
            await client.close()

    with ScriptedIssuer(certificate=bare("issuer", authority, NAMES)) as issuer:
        if not strict:
            assert b'"keys"' in asyncio.run(fetch(issuer.jwks_url))
            return
        with pytest.raises(FetchFailed) as refused:
            asyncio.run(fetch(issuer.jwks_url))
        assert refused.value.phase == "tls"


@pytest.mark.parametrize("strict", [False, True])
def test_stock_authority_vouches_for_an_api(authority: Identity, tmp_path: Path, *, strict: bool) -> None:
    tls = UpstreamTlsSettings(
        ca_file=tmp_path / "trusted.crt", server_name="localhost", strict_certificates=strict
    )
    listener = socket.create_server(("127.0.0.1", 0))

    async def ask() -> bytes:
        heard = await connected(UpstreamSettings("https", "127.0.0.1", listener.getsockname()[1], tls=tls))
        heard.transport.write(b"hello")
        await heard.arrived.wait()
        heard.transport.abort()
        await heard.lost
        return bytes(heard.data)

    with serving(listener, echo, server_context(bare("api", authority, NAMES))):
        if not strict:
            assert uvloop.run(ask()) == b"hello"
            return
        with pytest.raises(ssl.SSLError):
            uvloop.run(ask())
