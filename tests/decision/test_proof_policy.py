from sidecar.decision.proof_policy import PROOF_POLICY, ProofPolicy


def test_algorithms_of_a_challenge_are_in_order() -> None:
    """RFC 9449 §7.1: `algs` is a space-delimited list."""
    assert ProofPolicy(algorithms=frozenset({"PS256", "ES256"})).algs == "ES256 PS256"


def test_without_a_word_no_nonce_is_asked_for() -> None:
    assert not PROOF_POLICY.requires_nonce
