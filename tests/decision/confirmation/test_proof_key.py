"""RFC 9449 §4.3 and §7.1, check by check; `NEGATIVES` are those of the FAPI 2.0 conformance suite, and some more."""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sidecar.decision.confirmation.method import Confirmed
from sidecar.decision.confirmation.proof_key import ProofKeyThumbprint
from sidecar.decision.failure import Denied, Failure
from sidecar.decision.presentation import Presentation
from sidecar.decision.proof import ProofTerms
from sidecar.decision.proof_policy import PROOF_POLICY
from sidecar.decision.reason import Reason
from sidecar.decision.token import AccessToken
from tests.contracts.confirmation_method import ConfirmationMethodContract
from tests.support.mint import base64url
from tests.support.proofs import Prover
from tests.support.world import ORIGIN, head, presenter

TOKEN = "header.payload.signature"
TERMS = ProofTerms(PROOF_POLICY, (ORIGIN,))


def presented(
    *proofs: str, scheme: str = "DPoP", terms: ProofTerms | None = TERMS, token: str = TOKEN, **facts: Any
) -> Presentation:
    request = head(authorization=(f"{scheme} {token}",), proofs=proofs, **facts)
    return Presentation(request, presenter(), AccessToken(token, b"key", scheme), time.time(), terms)


class TestProofKeyThumbprint(ConfirmationMethodContract):
    mine, other = Prover.create(), Prover.create()

    def method(self) -> ProofKeyThumbprint:
        return ProofKeyThumbprint()

    def rightful(self) -> tuple[object, Presentation]:
        return self.mine.thumbprint, presented(self.mine.proof(TOKEN))

    def stranger(self) -> Presentation:
        return presented(self.other.proof(TOKEN))

    def nobody(self) -> Presentation:
        return presented()

    def malformed(self) -> list[object]:
        right = self.mine.thumbprint
        return ["", "text", right + "=", f" {right}", right[:-1], right + "A", right.encode().hex()]

    mismatch = Reason.PROOF_KEY_MISMATCH

    def test_what_is_to_be_claimed_is_told_and_is_no_proof(self) -> None:
        value, holder = self.rightful()
        confirmed: Confirmed = self.method().confirm(self.method().parse(value), holder)
        claim = confirmed.claim
        assert claim is not None
        assert base64.urlsafe_b64encode(claim.key).decode().rstrip("=") == self.mine.thumbprint
        assert claim.lifetime == 90

    def test_bound_token_as_bearer_is_refused(self) -> None:
        for given in (
            presented(self.mine.proof(TOKEN), scheme="Bearer"),
            presented(self.mine.proof(TOKEN), terms=None),
        ):
            with pytest.raises(Denied) as caught:
                self.method().confirm(self.method().parse(self.mine.thumbprint), given)
            assert caught.value.reason is Reason.SCHEME_MISMATCH

    def test_metadata_says_what_is_taken_and_whether_nothing_else_is(self) -> None:
        method = self.method()
        assert method.metadata({"Bearer"}, ()) == {}
        assert method.metadata({"DPoP"}, {"PS256", "ES256"}) == {
            "dpop_signing_alg_values_supported": ["ES256", "PS256"], "dpop_bound_access_tokens_required": True,
        }  # fmt: skip
        assert method.metadata({"DPoP", "Bearer"}, ())["dpop_bound_access_tokens_required"] is False
        assert not method.is_accepted({"Bearer"})

    def test_failed_check_of_the_proof_is_a_mismatch_in_the_record(self) -> None:
        method = self.method()
        digest = method.parse(self.mine.thumbprint)
        assert not method.holds(digest, presenter(), [Failure("dpop.htu", Reason.PROOF_TARGET_MISMATCH)])
        assert method.holds(digest, presenter(), [Failure("scope", Reason.SCOPE_INSUFFICIENT)])
        assert method.held({"expected_key_thumbprint": self.mine.thumbprint}, ["proof_missing"]) is False

    def test_mistake_is_diagnosed_only_for_a_token_that_is_bound_so(self) -> None:
        failure = Failure("dpop.field", Reason.PROOF_MISSING)
        method = self.method()
        assert method.diagnose(None, failure, head(), presenter(), ()) is None
        found = method.diagnose("x", failure, head(), presenter(), ())
        assert found is not None
        assert found.mistake == "bearer"


PROVER = Prover.create()
DIGEST = ProofKeyThumbprint().parse(PROVER.thumbprint)


def outcome(*proofs: str, prover: Prover = PROVER, **facts: Any) -> Reason | None:
    """Why a proof is refused, or None."""
    value = ProofKeyThumbprint().parse(prover.thumbprint)
    try:
        ProofKeyThumbprint().confirm(value, presented(*proofs, **facts))
    except Denied as denied:
        return denied.reason
    return None


def proof(**given: Any) -> str:
    return PROVER.proof(TOKEN, **given)


def spoiled(part: int, change: Callable[[str], str]) -> str:
    parts = proof().split(".")
    parts[part] = change(parts[part])
    return ".".join(parts)


def with_claim(part: str, name: str, value: object) -> str:
    claims = json.loads(base64.urlsafe_b64decode(part + "=="))
    return base64url(json.dumps({**claims, name: value}).encode())


def with_private_member() -> str:
    number = PROVER.signer.key.private_numbers().private_value  # type: ignore[union-attr]
    secret = base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")
    return proof(header={"jwk": {**PROVER.jwk, "d": secret}})


NOW = int(time.time())
NEGATIVES: Mapping[str, tuple[Callable[[], tuple[str, ...]], Reason]] = {
    "no proof": (lambda: (), Reason.PROOF_MISSING),
    "more than one DPoP field": (lambda: (proof(), proof()), Reason.PROOF_REPEATED),
    "two proofs joined by a comma": (lambda: (f"{proof()}, {proof()}",), Reason.PROOF_REPEATED),
    "a malformed proof": (lambda: ("not a jwt",), Reason.PROOF_MALFORMED),
    "an empty proof": (lambda: ("",), Reason.PROOF_MALFORMED),
    "a proof of four parts": (lambda: (proof() + ".x",), Reason.PROOF_MALFORMED),
    "a header that is no JSON": (lambda: (spoiled(0, lambda part: part[:-3]),), Reason.PROOF_MALFORMED),
    "typ missing": (lambda: (proof(without=["typ"]),), Reason.PROOF_MALFORMED),
    "alg missing": (lambda: (proof(without=["alg"]),), Reason.PROOF_ALGORITHM_REFUSED),
    "jwk missing": (lambda: (proof(without=["jwk"]),), Reason.PROOF_KEY_REFUSED),
    "jti missing": (lambda: (proof(without=["jti"]),), Reason.PROOF_MALFORMED),
    "htm missing": (lambda: (proof(without=["htm"]),), Reason.PROOF_MALFORMED),
    "htu missing": (lambda: (proof(without=["htu"]),), Reason.PROOF_MALFORMED),
    "iat missing": (lambda: (proof(without=["iat"]),), Reason.PROOF_MALFORMED),
    "ath missing": (lambda: (proof(without=["ath"]),), Reason.PROOF_MALFORMED),
    "another typ": (lambda: (proof(header={"typ": "JWT"}),), Reason.PROOF_MALFORMED),
    "an algorithm that is not allowed": (
        lambda: (proof(header={"alg": "RS256"}),),
        Reason.PROOF_ALGORITHM_REFUSED,
    ),
    "no signature": (lambda: (proof(header={"alg": "none"}),), Reason.PROOF_ALGORITHM_REFUSED),
    "a MAC": (lambda: (proof(header={"alg": "HS256"}),), Reason.PROOF_ALGORITHM_REFUSED),
    "an algorithm of another key": (
        lambda: (proof(header={"alg": "EdDSA"}),),
        Reason.PROOF_ALGORITHM_REFUSED,
    ),
    "a bad signature": (
        lambda: (spoiled(2, lambda part: ("A" if part[0] != "A" else "B") + part[1:]),),
        Reason.PROOF_SIGNATURE_INVALID,
    ),
    "changed claims": (
        lambda: (spoiled(1, lambda part: with_claim(part, "jti", "another")),),
        Reason.PROOF_SIGNATURE_INVALID,
    ),
    "a private key": (lambda: (with_private_member(),), Reason.PROOF_KEY_REFUSED),
    "another htm": (lambda: (proof(method="POST"),), Reason.PROOF_METHOD_MISMATCH),
    "an htm in lower case": (lambda: (proof(method="get"),), Reason.PROOF_METHOD_MISMATCH),
    "another htu": (lambda: (proof(url="https://other.example/accounts/7"),), Reason.PROOF_TARGET_MISMATCH),
    "another path": (
        lambda: (proof(url="https://api.example.com/accounts/8"),),
        Reason.PROOF_TARGET_MISMATCH,
    ),
    "an htu that is no URI": (lambda: (proof(url="accounts"),), Reason.PROOF_TARGET_MISMATCH),
    "iat an hour ago": (lambda: (proof(iat=NOW - 3600),), Reason.PROOF_EXPIRED),
    "iat in an hour": (lambda: (proof(iat=NOW + 3600),), Reason.PROOF_NOT_YET_VALID),
    "another ath": (lambda: (PROVER.proof("another token"),), Reason.PROOF_TOKEN_MISMATCH),
    "another key": (lambda: (Prover.create().proof(TOKEN),), Reason.PROOF_KEY_MISMATCH),
}


@pytest.mark.parametrize("name", NEGATIVES)
def test_negative_of_the_fapi_2_suite_is_refused(name: str) -> None:
    make, reason = NEGATIVES[name]
    assert outcome(*make()) is reason


ACCEPTED: Mapping[str, Callable[[], str]] = {
    "as it should be": proof,
    "extra claims": lambda: proof(extra="ignored", exp=1, nonce="unasked"),
    "an htu with a query": lambda: proof(url="https://api.example.com/accounts/7?x=1"),
    "scheme and host in upper case": lambda: proof(url="HTTPS://API.EXAMPLE.COM/accounts/7"),
    "the default port": lambda: proof(url="https://api.example.com:443/accounts/7"),
    "iat 10 s ago": lambda: proof(iat=int(time.time()) - 10),
    "iat in 10 s": lambda: proof(iat=int(time.time()) + 10),
    "iat with a fraction": lambda: proof(iat=time.time()),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_the_fapi_2_suite_has_accepted_is_accepted(name: str) -> None:
    assert outcome(ACCEPTED[name]()) is None


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_proof_with_each_usual_algorithm_is_good(algorithm: str) -> None:
    prover = Prover.create(algorithm)
    assert outcome(prover.proof(TOKEN), prover=prover) is None
    if algorithm == "EdDSA":  # RFC 9864: the same by its other name
        assert outcome(prover.proof(TOKEN, header={"alg": "Ed25519"}), prover=prover) is None


HOSTILE_KEYS: list[object] = [
    "text", [], None, 7, True, {}, {"kty": "oct", "k": "AAAA"}, {"kty": ["EC"]}, {"kty": "EC"},
    {**PROVER.jwk, "kid": "x"},
    {**PROVER.jwk, "x": 1}, {**PROVER.jwk, "padding": "x" * 4096}, {**PROVER.jwk, "x5c": ["AAAA"]},
    {**PROVER.jwk, "alg": "ES256"}, {**PROVER.jwk, "x5u": "https://evil.example"}, {**PROVER.jwk, "kty": "RSA"},
    {"kty": "RSA", "n": "AQAB", "e": "AQAB", "p": "AQAB"}, {"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"},
    {name: [value] for name, value in PROVER.jwk.items()},
    {**PROVER.jwk, "padding": "x" * 5500}, {**PROVER.jwk, "n" * 5500: "x"}, {**PROVER.jwk, "kty": "E" * 5500},
    {**PROVER.jwk, **{str(at): 0 for at in range(600)}}, {**PROVER.jwk, "x5c": ["A" * 1370] * 4},
]  # fmt: skip


@pytest.mark.parametrize("jwk", HOSTILE_KEYS, ids=range(len(HOSTILE_KEYS)))
def test_key_with_other_members_than_make_it_is_refused(jwk: object) -> None:
    assert outcome(proof(header={"jwk": jwk})) is Reason.PROOF_KEY_REFUSED


EIGHT_KILOBYTES: Mapping[str, dict[str, object]] = {
    "a member more": {**PROVER.jwk, "padding": "x" * 8192},
    "a coordinate": {**PROVER.jwk, "x": "A" * 8192},
    "a modulus": {"kty": "RSA", "n": "A" * 8192, "e": "AQAB"},
    "an exponent": {"kty": "RSA", "n": "AQAB", "e": "A" * 8192},
    "a name": {**PROVER.jwk, "n" * 8192: "x"},
    "very many members": {**PROVER.jwk, **{str(at): 0 for at in range(1000)}},
    "a chain of certificates": {**PROVER.jwk, "x5c": ["A" * 2048] * 4},
    "a type": {**PROVER.jwk, "kty": "E" * 8192},
}


@pytest.mark.parametrize("name", EIGHT_KILOBYTES)
def test_key_of_eight_kilobytes_is_not_even_decoded(name: str) -> None:
    """The field is too long by then: nothing is spent on it."""
    with pytest.raises(Denied) as caught:
        ProofKeyThumbprint().confirm(DIGEST, presented(proof(header={"jwk": EIGHT_KILOBYTES[name]})))
    assert (caught.value.reason, caught.value.failure.check) == (Reason.PROOF_MALFORMED, "dpop.field")


def test_key_that_nests_without_end_is_malformed() -> None:
    deep: object = "x"
    for _ in range(400):
        deep = [deep]
    assert outcome(proof(header={"jwk": {**PROVER.jwk, "x": deep}})) is Reason.PROOF_MALFORMED


def modulus(bits: int) -> str:
    return base64url(((1 << bits - 1) + 1).to_bytes(bits // 8, "big"))


NO_KEYS: Mapping[str, dict[str, str]] = {
    "off the curve": {**PROVER.jwk, "y": PROVER.jwk["x"]},
    "at infinity": {**PROVER.jwk, "x": base64url(bytes(32)), "y": base64url(bytes(32))},
    "another curve": {**PROVER.jwk, "crv": "P-192"},
    "a curve that is not registered": {**PROVER.jwk, "crv": "secp256k1"},
    "too short": {**PROVER.jwk, "x": "AA"},
    "padded": {**PROVER.jwk, "x": PROVER.jwk["x"] + "="},
    "RSA of 512 bits": {"kty": "RSA", "n": modulus(512), "e": "AQAB"},
    "RSA of 1024 bits": {"kty": "RSA", "n": modulus(1024), "e": "AQAB"},
    "RSA of 16384 bits": {"kty": "RSA", "n": modulus(16384), "e": "AQAB"},
    "RSA with the exponent 1": {"kty": "RSA", "n": modulus(2048), "e": "AQ"},
    "RSA with an even exponent": {"kty": "RSA", "n": modulus(2048), "e": "BA"},
    "Ed25519 of 31 bytes": {"kty": "OKP", "crv": "Ed25519", "x": base64url(bytes(31))},
    "a coordinate that fills the field": {**PROVER.jwk, "x": "A" * 5500},
    "a modulus that fills the field": {"kty": "RSA", "n": "_" * 5500, "e": "AQAB"},
    "an exponent that fills the field": {"kty": "RSA", "n": modulus(2048), "e": "_" * 5200},
    "a key for another purpose": {"kty": "OKP", "crv": "X25519", "x": base64url(bytes(32))},
}


@pytest.mark.parametrize("jwk", NO_KEYS.values(), ids=NO_KEYS)
def test_key_that_is_none_is_refused_though_the_token_names_it(jwk: dict[str, str]) -> None:
    """An authorization server that binds a token to such a key must not make the check of the signature meaningless."""
    prover = PROVER
    text = json.dumps({name: jwk[name] for name in sorted(jwk)}, separators=(",", ":"))
    value = hashlib.sha256(text.encode()).digest()
    with pytest.raises(Denied) as caught:
        ProofKeyThumbprint().confirm(value, presented(prover.proof(TOKEN, header={"jwk": jwk})))
    assert caught.value.reason is Reason.PROOF_KEY_REFUSED


@pytest.mark.parametrize("jti", ["", "x" * 513, 7, None])
def test_jti_is_a_short_string(jti: object) -> None:
    assert outcome(proof(jti=jti)) is Reason.PROOF_MALFORMED


def test_field_is_bounded() -> None:
    assert outcome(proof(jti="x" * 65536)) is Reason.PROOF_MALFORMED
    assert outcome("x" * 8193) is Reason.PROOF_MALFORMED


@pytest.mark.parametrize("name", ["crit", "b64"])
def test_extension_of_the_header_is_refused(name: str) -> None:
    assert outcome(proof(header={name: ["x"]})) is Reason.PROOF_MALFORMED


def test_path_that_cannot_be_compared_is_no_target() -> None:
    assert outcome(proof(), target="*") is Reason.PROOF_TARGET_MISMATCH
