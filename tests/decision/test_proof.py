"""Terms and keys of proofs; each of the checks is tested with its confirmation method, `test_proof_key`."""

import time
from typing import Any

import pytest

from sidecar.decision.failure import Denied
from sidecar.decision.nonce import Nonces
from sidecar.decision.proof import Claim, ProofTerms, judge
from sidecar.decision.proof_header import CHECKS, thumbprint_of
from sidecar.decision.proof_policy import PROOF_POLICY, ProofPolicy
from sidecar.decision.reason import Reason
from sidecar.decision.token import AccessToken
from tests.decision.confirmation.test_proof_key import ACCEPTED, HOSTILE_KEYS, NEGATIVES, PROVER, TOKEN
from tests.support.world import ORIGIN, head

VALUE = thumbprint_of(PROVER.jwk)


def judged(
    *proofs: str, terms: ProofTerms | None = None, value: bytes = VALUE, **facts: Any
) -> Claim | Reason:
    given = terms or ProofTerms(PROOF_POLICY, (ORIGIN,))
    try:
        return judge(
            head(proofs=proofs, **facts), AccessToken(TOKEN, b"key", "DPoP"), value, given, time.time()
        )
    except Denied as denied:
        known = denied.failure.check in {name for name, _, _ in CHECKS}
        return denied.reason if known else Reason.INTERNAL_ERROR


def test_every_negative_fails_at_a_check_that_has_a_name_and_a_clause() -> None:
    for make, reason in NEGATIVES.values():
        assert judged(*make()) is reason
    for accepted in ACCEPTED.values():
        assert isinstance(judged(accepted()), Claim)
    for jwk in HOSTILE_KEYS:
        assert judged(PROVER.proof(TOKEN, header={"jwk": jwk})) is Reason.PROOF_KEY_REFUSED
    for bad in (
        PROVER.proof(TOKEN, jti="x" * 600), PROVER.proof(TOKEN, jti="x" * 60_000),
        PROVER.proof(TOKEN, header={"crit": []}),
    ):  # fmt: skip
        assert judged(bad) is Reason.PROOF_MALFORMED
    assert judged(PROVER.proof(TOKEN), target="*") is Reason.PROOF_TARGET_MISMATCH


def test_key_of_the_token_that_is_no_key_verifies_nothing() -> None:
    jwk = {**PROVER.jwk, "y": PROVER.jwk["x"]}
    assert (
        judged(PROVER.proof(TOKEN, header={"jwk": jwk}), value=thumbprint_of(jwk)) is Reason.PROOF_KEY_REFUSED
    )


@pytest.mark.parametrize("part", [1, 2])
def test_part_that_is_not_base64url_of_what_it_should_be_is_malformed(part: int) -> None:
    parts = PROVER.proof(TOKEN).split(".")
    for wrong in ("é", "a", parts[part] + "="):
        assert judged(".".join([*parts[:part], wrong, *parts[part + 1 :]])) is Reason.PROOF_MALFORMED


def test_nonce_counts_only_where_one_is_required() -> None:
    nonces = Nonces(b"k" * 32)
    required = ProofTerms(ProofPolicy(requires_nonce=True), (ORIGIN,), nonces)
    assert ProofTerms(PROOF_POLICY, (ORIGIN,), nonces).nonces is None
    assert judged(PROVER.proof(TOKEN), terms=required) is Reason.PROOF_NONCE_REQUIRED
    assert judged(PROVER.proof(TOKEN, nonce="x"), terms=required) is Reason.PROOF_NONCE_REQUIRED
    assert isinstance(judged(PROVER.proof(TOKEN, nonce=nonces.fresh(time.time())), terms=required), Claim)


def test_algorithms_are_named_in_order_and_known_by_either_name() -> None:
    policy = ProofPolicy(algorithms=frozenset({"Ed25519", "ES256"}))
    assert policy.algs == "ES256 Ed25519"
    assert ProofTerms(policy, ()).algorithms == {"ES256", "EdDSA"}
