"""One JWK: usable, or skipped for a named reason."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.decision.jwk import ParsedKey, Unusable, UnusableKey, parse_jwk
from tests.support.mint import SigningKey, base64url
from tests.support.weak_keys import integer, roca_key, rsa_jwk

SigningKeys = Callable[[str], SigningKey]


def unusable(jwk: object) -> UnusableKey:
    with pytest.raises(UnusableKey) as caught:
        parse_jwk(jwk)
    return caught.value


def without(jwk: dict[str, Any], *names: str, **members: object) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names} | members


@pytest.mark.parametrize(
    "algorithm",
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"],
)
def test_key_with_alg_verifies_that_algorithm_alone(algorithm: str, signing_keys: SigningKeys) -> None:
    key = signing_keys(algorithm)
    parsed = parse_jwk(key.jwk)
    assert parsed.algorithms == {algorithm}
    assert parsed.kid == key.kid
    assert parsed.key == key.key.public_key()


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("RS256", {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        ("ES256", {"ES256"}),
        ("ES384", {"ES384"}),
        ("ES512", {"ES512"}),
        ("EdDSA", {"EdDSA"}),
    ],
)
def test_key_without_alg_verifies_those_of_its_type_and_curve(
    algorithm: str, expected: set[str], signing_keys: SigningKeys
) -> None:
    assert parse_jwk(without(signing_keys(algorithm).jwk, "alg", "use")).algorithms == expected


def test_ed25519_by_its_own_name_is_eddsa(signing_keys: SigningKeys) -> None:
    # RFC 9864 §2.2; npm oidc-provider 9 publishes this name.
    jwk = signing_keys("Ed25519").jwk
    assert jwk["alg"] == "Ed25519"
    assert parse_jwk(jwk).algorithms == {"EdDSA"}


@pytest.mark.parametrize("bits", [1024, 2047])
def test_rsa_key_under_2048_bits_is_skipped(bits: int) -> None:
    assert unusable(rsa_jwk(bits)).reason is Unusable.WEAK_RSA


def test_rsa_modulus_of_512_bits_is_skipped() -> None:
    jwk = {"kty": "RSA", "n": integer((1 << 511) | 1), "e": "AQAB"}
    assert unusable(jwk).reason is Unusable.WEAK_RSA


def test_rsa_key_over_8192_bits_is_skipped() -> None:
    assert (
        unusable({"kty": "RSA", "n": integer((1 << 16383) | 1), "e": "AQAB"}).reason is Unusable.OVERSIZED_RSA
    )


@pytest.mark.parametrize("exponent", [0, 1, 2, 65536, (1 << 70) | 1])
def test_rsa_key_with_a_bad_exponent_is_skipped(exponent: int, signing_keys: SigningKeys) -> None:
    jwk = without(signing_keys("RS256").jwk, e=integer(exponent))
    assert unusable(jwk).reason is Unusable.BAD_EXPONENT


def test_rsa_key_with_an_even_modulus_is_skipped() -> None:
    assert unusable({"kty": "RSA", "n": integer(1 << 2048), "e": "AQAB"}).reason is Unusable.MALFORMED


def test_key_of_the_roca_generator_is_skipped() -> None:
    key = roca_key(random.Random(20171016))
    assert "CVE-2017-15361" in unusable(key.jwk).detail
    assert unusable(key.jwk).reason is Unusable.ROCA


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
def test_point_off_the_curve_is_skipped(algorithm: str, signing_keys: SigningKeys) -> None:
    jwk = signing_keys(algorithm).jwk
    assert unusable({**jwk, "x": jwk["y"], "y": jwk["x"]}).reason is Unusable.OFF_CURVE


def test_point_of_another_curve_is_skipped(signing_keys: SigningKeys) -> None:
    jwk = signing_keys("ES384").jwk
    assert unusable({**jwk, "crv": "P-256", "alg": "ES256"}).reason is Unusable.MALFORMED
    assert unusable({**jwk, "crv": "secp256k1"}).reason is Unusable.UNSUPPORTED


def test_coordinate_without_its_leading_zeros_is_skipped(signing_keys: SigningKeys) -> None:
    # RFC 7518 §6.2.1.2: the octet string MUST be the full size of a coordinate.
    jwk = signing_keys("ES256").jwk
    assert unusable({**jwk, "x": base64url(b"\1" * 31)}).reason is Unusable.MALFORMED


@pytest.mark.parametrize(
    "point",
    [
        "01" + "00" * 31,  # the neutral element
        "ec" + "ff" * 30 + "7f",  # order 2
        "00" * 32,  # order 4
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",  # order 8
        "ff" * 32,  # y is no residue
        "02" + "00" * 31,  # no point has this y
    ],
)
def test_ed25519_point_off_the_curve_or_of_small_order_is_skipped(point: str) -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url(bytes.fromhex(point))}
    assert unusable(jwk).reason is Unusable.OFF_CURVE


def test_other_curves_of_okp_are_skipped() -> None:
    for curve in ("X25519", "Ed448", None, 7):
        assert unusable({"kty": "OKP", "crv": curve, "x": "AAAA"}).reason is Unusable.UNSUPPORTED
    assert unusable({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}).reason is Unusable.MALFORMED


@pytest.mark.parametrize("empty", [None, "", []])
@pytest.mark.parametrize("member", ["use", "key_ops", "alg", "kid", "d", "oth", "k"])
def test_a_member_that_is_null_or_empty_is_absent(
    member: str, empty: object, signing_key: SigningKey
) -> None:
    parsed = parse_jwk({**signing_key.jwk, member: empty})
    assert parsed.algorithms == {"ES256"}
    assert parsed.kid == (None if member == "kid" else "es256")


@pytest.mark.parametrize("use", ["enc", "SIG", 1, ["sig"]])
def test_key_for_another_use_is_skipped(use: object, signing_key: SigningKey) -> None:
    assert unusable({**signing_key.jwk, "use": use}).reason is Unusable.WRONG_USE


@pytest.mark.parametrize("operations", [["sign"], ["encrypt", "wrapKey"], ["VERIFY"]])
def test_key_whose_operations_leave_out_verify_is_skipped(
    operations: object, signing_key: SigningKey
) -> None:
    assert unusable({**signing_key.jwk, "key_ops": operations}).reason is Unusable.WRONG_KEY_OPS


@pytest.mark.parametrize("operations", ["verify", {"verify": True}, ["verify", "verify"], [1]])
def test_key_with_malformed_operations_is_skipped(operations: object, signing_key: SigningKey) -> None:
    assert unusable({**signing_key.jwk, "key_ops": operations}).reason is Unusable.MALFORMED


def test_key_whose_operations_include_verify_is_used(signing_key: SigningKey) -> None:
    assert parse_jwk({**signing_key.jwk, "key_ops": ["verify"]}).kid == "es256"


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "mac"},
        {"kty": "oct"},
        {"kty": "RSA", "k": "c2VjcmV0"},
    ],
)
def test_symmetric_key_is_skipped(jwk: object) -> None:
    assert unusable(jwk).reason is Unusable.SYMMETRIC


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth"])
def test_key_with_private_members_is_skipped(member: str, signing_key: SigningKey) -> None:
    assert unusable({**signing_key.jwk, member: "AQ"}).reason is Unusable.PRIVATE


@pytest.mark.parametrize("alg", ["HS256", "none", "RSA-OAEP", "ES384", "RS256", "ES256K", 256])
def test_key_whose_alg_does_not_fit_is_skipped(alg: object, signing_key: SigningKey) -> None:
    assert unusable({**signing_key.jwk, "alg": alg}).reason is Unusable.UNSUPPORTED


@pytest.mark.parametrize("kid", [7, ["a"], "k" * 257])
def test_key_whose_kid_is_no_short_string_is_skipped(kid: object, signing_key: SigningKey) -> None:
    assert unusable({**signing_key.jwk, "kid": kid}).reason is Unusable.MALFORMED


@pytest.mark.parametrize("entry", [None, 1, "key", [], ["kty"], True])
def test_entry_that_is_no_object_is_skipped(entry: object) -> None:
    assert unusable(entry).reason is Unusable.MALFORMED


@pytest.mark.parametrize("kty", [None, "", "rsa", "XYZ", 1, ["RSA"], {}])
def test_key_of_an_unknown_type_is_skipped(kty: object, signing_key: SigningKey) -> None:
    assert unusable({**signing_key.jwk, "kty": kty}).reason is Unusable.UNSUPPORTED


@pytest.mark.parametrize("value", [None, "", 7, "a=b", "AQ==", "A+/B", "A", " AQAB", "é", "AR", ["AQAB"]])
def test_member_that_is_not_base64url_is_skipped(value: object, signing_key: SigningKey) -> None:
    assert unusable({**signing_key.jwk, "y": value}).reason is Unusable.MALFORMED


def test_x5c_of_a_key_is_not_read(signing_key: SigningKey) -> None:
    # The key is the JWK's; a certificate beside it adds nothing and takes nothing away.
    parsed = parse_jwk({**signing_key.jwk, "x5c": ["not a certificate"], "x5u": "file:///etc/passwd"})
    assert isinstance(parsed, ParsedKey)
    assert dict(parsed.members).keys() == {"kty", "crv", "x", "y"}
