"""The authorization server does what the tests of the sidecar rely on."""

from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from tests.real.provider import OidcProvider
from tests.support.mint import AUDIENCE
from tests.support.pki import Pki
from tests.support.tls_client import Wire

pytestmark = pytest.mark.real


def published_keys(provider: OidcProvider) -> jwt.PyJWKSet:
    with Wire.tls(provider.port) as wire:
        return jwt.PyJWKSet.from_dict(wire.request(target="/jwks").json())


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "PS256", "RS256", "EdDSA"])
def test_token_is_bound_to_the_certificate_that_asked(
    oidc_provider: OidcProvider, pki: Pki, algorithm: str
) -> None:
    token = oidc_provider.token("client-1", algorithm)
    key = published_keys(oidc_provider)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, [algorithm], audience=AUDIENCE, issuer=oidc_provider.issuer)
    assert claims["cnf"] == {"x5t#S256": pki.client.thumbprint}
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"


def test_provider_signs_with_the_new_name_of_ed25519(oidc_provider: OidcProvider) -> None:
    assert jwt.get_unverified_header(oidc_provider.token("client-1", "Ed25519"))["alg"] == "Ed25519"


@pytest.mark.parametrize("client_id", ["client-1", "self-signed", "basic", "post", "assertion"])
def test_every_client_gets_and_introspects_an_opaque_token(
    oidc_provider: OidcProvider, client_id: str
) -> None:
    token = oidc_provider.token(client_id, "opaque")
    identity = oidc_provider.clients[client_id].identity
    assert identity is not None
    answer = oidc_provider.introspect(client_id, token)
    assert answer["active"] is True
    assert answer["aud"] == AUDIENCE
    assert answer["cnf"] == {"x5t#S256": identity.thumbprint}


def test_revoked_token_is_inactive(oidc_provider: OidcProvider) -> None:
    token = oidc_provider.token("client-1", "opaque")
    oidc_provider.revoke("client-1", token)
    assert oidc_provider.introspect("basic", token) == {"active": False}


def test_unbound_client_gets_a_token_without_confirmation(oidc_provider: OidcProvider) -> None:
    claims = jwt.decode(oidc_provider.token("unbound"), options={"verify_signature": False})
    assert "cnf" not in claims


@pytest.fixture
def rotating_provider(tmp_path: Path, pki: Pki) -> Iterator[OidcProvider]:
    with OidcProvider(tmp_path, pki) as provider:
        yield provider


def test_rotation_replaces_the_keys_or_keeps_the_old(rotating_provider: OidcProvider) -> None:
    first = {key.key_id for key in published_keys(rotating_provider).keys}
    rotating_provider.rotate(keep_old=True)
    both = {key.key_id for key in published_keys(rotating_provider).keys}
    assert first < both
    assert jwt.get_unverified_header(rotating_provider.token("client-1"))["kid"] in both - first
    rotating_provider.rotate()
    assert not both & {key.key_id for key in published_keys(rotating_provider).keys}
