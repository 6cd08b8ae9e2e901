import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sidecar.decision import jose
from sidecar.decision.denial import Denied, Reason
from sidecar.decision.ports import VerificationKey
from sidecar.decision.token import AccessToken
from tests.support.mint import SigningKey, claims_set, keyed_by_public_key, tampered, unsigned
from tests.support.pki import make_key
from tests.support.world import ALGORITHMS, Jwks, verification_key


def token(text: str) -> AccessToken:
    return AccessToken(text, b"key")


def parsing_refused(text: str) -> Reason:
    with pytest.raises(Denied) as caught:
        jose.parse(token(text))
    return caught.value.reason


def verified(
    text: str, *keys: VerificationKey, algorithms: frozenset[str] = ALGORITHMS
) -> jose.VerifiedClaims:
    return jose.verify(jose.parse(token(text)), algorithms, Jwks(keys))


def verification_refused(text: str, *keys: VerificationKey, **options: Any) -> Reason:
    with pytest.raises(Denied) as caught:
        verified(text, *keys, **options)
    return caught.value.reason


@pytest.mark.parametrize(
    "algorithm",
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
)
def test_signature_of_every_algorithm_is_verified(
    algorithm: str, signing_keys: Callable[[str], SigningKey]
) -> None:
    key = signing_keys(algorithm)
    public = verification_key(key)
    result = verified(key.token(sub="alice"), public)
    assert result.claims["sub"] == "alice"
    assert result.type == "at+jwt"
    assert result.key is public
    assert verification_refused(tampered(key.token(), sub="mallory"), public) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    ("listed", "named"), [("EdDSA", "Ed25519"), ("Ed25519", "EdDSA"), ("Ed25519", "Ed25519")]
)
def test_ed25519_and_eddsa_are_one_algorithm(
    listed: str, named: str, signing_keys: Callable[[str], SigningKey]
) -> None:
    key = signing_keys("Ed25519")
    algorithms = frozenset({jose.canonical_algorithm(listed)})
    signed = key.token(header={"alg": named})
    assert verified(signed, verification_key(key), algorithms=algorithms).claims["sub"] == "alice"


def test_algorithm_outside_the_list_is_refused(signing_key: SigningKey) -> None:
    refused = verification_refused(
        signing_key.token(), verification_key(signing_key), algorithms=frozenset({"PS256"})
    )
    assert refused is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "nOnE", "HS256", "HS512", "ES256K", "es256", "", "\x00"]
)
def test_algorithm_that_verifies_nothing_is_refused_even_when_listed(
    algorithm: str, signing_key: SigningKey
) -> None:
    forged = signing_key.token(header={"alg": algorithm})
    listed = ALGORITHMS | {algorithm}
    assert (
        verification_refused(forged, verification_key(signing_key), algorithms=listed)
        is Reason.ALGORITHM_REFUSED
    )


def test_unsigned_token_is_refused(signing_key: SigningKey) -> None:
    assert (
        verification_refused(unsigned(claims_set()), verification_key(signing_key))
        is Reason.ALGORITHM_REFUSED
    )


def test_hmac_keyed_with_the_public_key_is_refused(signing_key: SigningKey) -> None:
    forged = keyed_by_public_key(signing_key, claims_set())
    assert verification_refused(forged, verification_key(signing_key)) is Reason.ALGORITHM_REFUSED


def test_unknown_kid_is_refused(signing_key: SigningKey) -> None:
    forged = signing_key.token(header={"kid": "other"})
    assert verification_refused(forged, verification_key(signing_key)) is Reason.KEY_UNKNOWN


def test_token_without_kid_is_held_against_each_key_that_fits(signing_key: SigningKey) -> None:
    text, own = signing_key.token(header={"kid": None}), verification_key(signing_key)
    others = [verification_key(SigningKey.create("ES256", f"k{number}")) for number in range(8)]
    assert verified(text, own).claims["sub"] == "alice"
    assert verified(text, *others[:7], own).key is own
    assert verification_refused(text, *others[:7]) is Reason.SIGNATURE_INVALID
    assert verification_refused(text, *others, own) is Reason.SIGNATURE_INVALID
    assert verification_refused(text) is Reason.KEY_UNKNOWN


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("ES256", "P-384"), ("ES256", "RSA-2048"), ("ES384", "P-256"), ("RS256", "P-256"), ("PS256", "Ed25519"),
     ("EdDSA", "P-256"), ("EdDSA", "RSA-2048")],
)  # fmt: skip
def test_key_of_another_kind_is_never_used(
    algorithm: str, kind: str, signing_keys: Callable[[str], SigningKey]
) -> None:
    signed = signing_keys(algorithm).token(header={"kid": "k"})
    other = signing_keys("RS256").key if kind == "RSA-2048" else make_key(kind)
    mislabelled = VerificationKey("k", frozenset({algorithm}), other.public_key())
    assert verification_refused(signed, mislabelled) is Reason.ALGORITHM_REFUSED


def test_key_is_used_with_its_own_algorithms_only(signing_keys: Callable[[str], SigningKey]) -> None:
    class Obliging:
        """A key set that finds a key whatever the algorithm."""

        def fitting(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
            return [verification_key(signing_keys("RS256"))]

        def is_current(self, key: object) -> bool:
            return True

    jws = jose.parse(token(signing_keys("PS256").token()))
    with pytest.raises(Denied) as caught:
        jose.verify(jws, ALGORITHMS, Obliging())
    assert caught.value.reason is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.TOKEN_UNRECOGNISED),
        ("opaque", Reason.TOKEN_UNRECOGNISED),
        ("a.b", Reason.TOKEN_UNRECOGNISED),
        ("a.b.c.d", Reason.TOKEN_UNRECOGNISED),
        ("a.b.c.d.e.f", Reason.TOKEN_UNRECOGNISED),
        ("a.b.c.d.e", Reason.TOKEN_ENCRYPTED),
        ("..", Reason.TOKEN_MALFORMED),
        ("e30.e30.=", Reason.TOKEN_MALFORMED),
        ("e30.e30.QR", Reason.TOKEN_MALFORMED),
        ("e30=.e30.QQ", Reason.TOKEN_MALFORMED),
        ("e30..QQ", Reason.TOKEN_MALFORMED),
        ("W10.e30.QQ", Reason.TOKEN_MALFORMED),
        ("e30.W10.QQ", Reason.TOKEN_MALFORMED),
        ("e30.e30.QQ", Reason.HEADER_REFUSED),
    ],
)
def test_what_is_no_compact_jws_is_refused(text: str, reason: Reason) -> None:
    assert parsing_refused(text) is reason


@pytest.mark.parametrize(
    "header",
    [
        {"alg": 1}, {"alg": None}, {"alg": ["ES256"]}, {"crit": []}, {"crit": ["exp"]}, {"crit": "b64"}, {"crit": None},
        {"b64": False}, {"b64": True}, {"kid": 1}, {"kid": None}, {"kid": ["a"]}, {"kid": {}}, {"kid": "x" * 257},
        {"typ": 1}, {"typ": None}, {"typ": ["at+jwt"]},
    ],
)  # fmt: skip
def test_header_that_says_something_odd_is_refused(
    header: dict[str, object], signing_key: SigningKey
) -> None:
    odd = signing_key.sign(claims_set(), {"typ": "at+jwt", "alg": "ES256", "kid": "es256", **header})
    assert parsing_refused(odd) is Reason.HEADER_REFUSED


@pytest.mark.parametrize(
    ("given", "read"),
    [("at+jwt", "at+jwt"), ("AT+JWT", "at+jwt"), ("application/at+jwt", "at+jwt"), ("Application/AT+jwt", "at+jwt"),
     ("JWT", "jwt"), ("application/application/at+jwt", "application/at+jwt"), ("", "")],
)  # fmt: skip
def test_type_is_a_media_type_without_case(given: str, read: str, signing_key: SigningKey) -> None:
    assert jose.parse(token(signing_key.token(header={"typ": given}))).type == read


def test_token_without_type_has_none(signing_key: SigningKey) -> None:
    assert jose.parse(token(signing_key.token(header={"typ": None}))).type == ""


@pytest.mark.parametrize("issuer", [None, 1, ["https://as.example.com"], True])
def test_issuer_that_is_no_text_chooses_nothing(issuer: object, signing_key: SigningKey) -> None:
    jws = jose.parse(token(signing_key.token(iss=issuer)))
    with pytest.raises(Denied) as caught:
        _ = jws.claimed_issuer
    assert caught.value.reason is Reason.CLAIM_MALFORMED


def test_issuer_that_a_token_claims_is_only_for_choosing(signing_key: SigningKey) -> None:
    assert jose.parse(token(signing_key.token(iss="https://b.example"))).claimed_issuer == "https://b.example"


def test_token_without_issuer_chooses_nothing(signing_key: SigningKey) -> None:
    with pytest.raises(Denied) as caught:
        _ = jose.parse(token(signing_key.token(without=["iss"]))).claimed_issuer
    assert caught.value.reason is Reason.CLAIM_MISSING


def test_nothing_of_a_token_shows_in_its_representation(signing_key: SigningKey) -> None:
    text = signing_key.token(sub="secret-subject")
    shown = repr(jose.parse(token(text))) + repr(verified(text, verification_key(signing_key)))
    assert "secret-subject" not in shown
    assert text.rpartition(".")[2] not in shown


@pytest.mark.parametrize(
    ("text", "opaque"), [("abc", True), ("a.b", True), ("a.b.c", False), ("a.b.c.d.e", False)]
)
def test_token_of_neither_form_is_opaque(text: str, *, opaque: bool) -> None:
    assert jose.is_opaque(token(text)) is opaque


def test_what_a_client_wrote_is_printable_in_a_record(signing_key: SigningKey) -> None:
    forged = signing_key.token(header={"alg": "A\r\n\u202e" + "x" * 100})
    with pytest.raises(Denied) as caught:
        verified(forged, verification_key(signing_key))
    shown = caught.value.failure.presented
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) < 100


def test_header_may_stand_in_any_order_and_spacing(signing_key: SigningKey) -> None:
    header = json.dumps({"kid": "es256", "alg": "ES256", "typ": "at+jwt"}, indent=2).encode()
    text = signing_key.sign(claims_set(), header)
    assert base64.urlsafe_b64encode(header).decode().rstrip("=") in text
    assert verified(text, verification_key(signing_key)).type == "at+jwt"
