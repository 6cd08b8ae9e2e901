"""The certificate as services write it that cannot be run here: by their documentation, as docs/proxies.md reads it."""

import base64
from urllib.parse import quote

import pytest

from sidecar.http.certificate_field import CertificateFieldMalformed, CertificateFormat, parse
from tests.support.pki import Authority, Identity, certificate_der, certificate_pem


@pytest.fixture(scope="module")
def client() -> Identity:
    """A client whose certificate comes with one intermediate."""
    return Authority.root().intermediate().issue()


def plain_base64(der: bytes) -> str:
    return base64.b64encode(der).decode()


def test_an_aws_load_balancer_that_verifies_sends_the_leaf(client: Identity) -> None:
    value = quote(certificate_pem(client.certificate), safe="+=/")
    got = parse(CertificateFormat.PEM_URLENCODED, [value.encode()])
    assert got is not None
    assert (got.leaf, got.chain) == (client.der, ())


def test_an_aws_load_balancer_that_passes_through_sends_the_chain(client: Identity) -> None:
    value = quote(client.pem, safe="+=/")
    got = parse(CertificateFormat.PEM_URLENCODED, [value.encode()])
    assert got is not None
    assert (got.leaf, got.chain) == (client.der, tuple(map(certificate_der, client.chain)))


@pytest.mark.parametrize("separator", [",", ", "], ids=["google", "cloudflare"])
def test_google_and_cloudflare_send_rfc_9440(client: Identity, separator: str) -> None:
    leaf, chain = (
        f":{plain_base64(client.der)}:",
        [f":{plain_base64(certificate_der(one))}:" for one in client.chain],
    )
    got = parse(CertificateFormat.RFC9440, [leaf.encode()], [separator.join(chain * 2).encode()])
    assert got is not None
    assert (got.leaf, got.chain) == (client.der, tuple(map(certificate_der, client.chain * 2)))


def test_cloudflare_sends_empty_fields_for_a_client_without_a_certificate() -> None:
    assert parse(CertificateFormat.RFC9440, [b""], [b""]) is None


def test_an_azure_app_service_sends_base64(client: Identity) -> None:
    got = parse(CertificateFormat.DER_BASE64, [plain_base64(client.der).encode()])
    assert got is not None
    assert got.leaf == client.der


def test_traefik_sends_pem_without_its_frame_and_joins_a_chain_by_commas(client: Identity) -> None:
    bare = [plain_base64(der) for der in (client.der, *map(certificate_der, client.chain))]
    got = parse(CertificateFormat.DER_BASE64, [bare[0].encode()])
    assert got is not None
    assert got.leaf == client.der
    with pytest.raises(CertificateFieldMalformed):
        parse(CertificateFormat.DER_BASE64, [",".join(bare).encode()])
