"""The test bed is only worth what its own tokens and certificates are worth."""

import base64
from collections.abc import Callable

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.support.mint import (
    AUDIENCE,
    ISSUER,
    SigningKey,
    claims_set,
    jwks,
    keyed_by_public_key,
    tampered,
    unsigned,
)
from tests.support.pki import Pki, Profile, self_signed, subject_alternative_names, thumbprint

JOSE_LIBRARY_ALGORITHMS = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip


@pytest.mark.parametrize("algorithm", JOSE_LIBRARY_ALGORITHMS)
def test_minted_token_verifies_in_an_independent_library(
    algorithm: str, signing_keys: Callable[[str], SigningKey], pki: Pki
) -> None:
    key = signing_keys(algorithm)
    token = key.token(pki.client)
    verified = jwt.decode(token, jwt.PyJWK(key.jwk), [algorithm], audience=AUDIENCE, issuer=ISSUER)
    assert verified["cnf"] == {"x5t#S256": pki.client.thumbprint}


def test_ed25519_by_its_own_name_signs_as_eddsa_does(signing_keys: Callable[[str], SigningKey]) -> None:
    key = signing_keys("Ed25519")
    token = key.token()
    assert jwt.get_unverified_header(token)["alg"] == "Ed25519"
    public = key.key.public_key()
    assert isinstance(public, ed25519.Ed25519PublicKey)
    signed, _, mac = token.rpartition(".")
    public.verify(base64.urlsafe_b64decode(mac + "=="), signed.encode())


def test_tampered_token_fails_verification(signing_key: SigningKey) -> None:
    token = tampered(signing_key.token(), sub="mallory")
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, jwt.PyJWK(signing_key.jwk), ["ES256"], audience=AUDIENCE)


def test_forgeries_have_the_shape_they_claim(signing_key: SigningKey) -> None:
    assert unsigned(claims_set()).endswith(".")
    assert jwt.get_unverified_header(keyed_by_public_key(signing_key, claims_set()))["alg"] == "HS256"
    assert signing_key.sign(b"{").split(".")[1] == "ew"


def test_jwks_holds_public_members_only(signing_key: SigningKey) -> None:
    (entry,) = jwt.PyJWKSet.from_dict(jwks(signing_key)).keys
    assert entry.key_id == "es256"
    assert "d" not in signing_key.jwk


def test_revocation_list_names_the_certificate(pki: Pki) -> None:
    authority = pki.client_authority
    crl = x509.load_pem_x509_crl(authority.revocation_list(pki.client))
    assert crl.is_signature_valid(authority.key.public_key())
    assert crl.get_revoked_certificate_by_serial_number(pki.client.certificate.serial_number) is not None
    assert crl.get_revoked_certificate_by_serial_number(pki.other_client.certificate.serial_number) is None


def test_alternative_name_may_hold_a_nul() -> None:
    names = subject_alternative_names(dns=["good.example\x00.evil.example"], uris=["spiffe://prod/api"])
    identity = self_signed(Profile(names=tuple(names)))
    again = x509.load_der_x509_certificate(identity.der)
    found = again.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["good.example\x00.evil.example"]
    assert thumbprint(again) == identity.thumbprint


def test_issued_certificates_chain_to_their_authority(pki: Pki) -> None:
    intermediate = pki.client_authority.intermediate()
    leaf = intermediate.issue()
    leaf.certificate.verify_directly_issued_by(intermediate.certificate)
    intermediate.certificate.verify_directly_issued_by(pki.client_authority.certificate)
    assert leaf.pem.count(b"BEGIN CERTIFICATE") == 2
