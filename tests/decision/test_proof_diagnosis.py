"""What a proof's maker probably did wrong, told from the proof and from the check that failed."""

import base64
import hashlib
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.decision.failure import Failure
from sidecar.decision.proof_diagnosis import diagnose_proof
from sidecar.decision.reason import Reason
from tests.support.mint import base64url
from tests.support.proofs import Prover
from tests.support.world import head

PROVER = Prover.create()
PARTS = [base64url(b'{"alg":"x"}'), base64url(b'{"sub":"y"}'), base64url(b"signature")]
TOKEN = ".".join(PARTS)
FIELD = f"DPoP {TOKEN}"


def digest(data: bytes) -> str:
    return base64url(hashlib.sha256(data).digest())


def mistake(
    reason: Reason, *proofs: str, expected: str = "", presented: str = "", field: str = FIELD
) -> str | None:
    request = head(authorization=(field,) if field else (), proofs=proofs)
    found = diagnose_proof(Failure("dpop.x", reason, expected, presented), request)
    assert found is None or found.sentence.endswith((".", ")."))
    return None if found is None else found.mistake


@pytest.mark.parametrize(
    ("ath", "expected"),
    [
        (hashlib.sha256(TOKEN.encode()).hexdigest(), "ath_in_hex"),
        (base64.urlsafe_b64encode(hashlib.sha256(TOKEN.encode()).digest()).decode(), "ath_padded"),
        (base64url(hashlib.sha256(TOKEN.encode()).hexdigest().encode()), "ath_of_hex"),
        (digest(FIELD.encode()), "ath_of_field"),
        (digest(b'{"alg":"x"}{"sub":"y"}signature'), "ath_of_decoded"),
        (digest(b'{"sub":"y"}'), "ath_of_decoded"),
        ("nonsense", "another_token"),
    ],
)
def test_hash_of_something_else_is_named(ath: str, expected: str) -> None:
    assert mistake(Reason.PROOF_TOKEN_MISMATCH, PROVER.proof(TOKEN, ath=ath)) == expected


def test_hash_of_a_token_that_cannot_be_decoded_is_another() -> None:
    for field in ("DPoP opaque~token", "DPoP opaque", ""):
        assert mistake(Reason.PROOF_TOKEN_MISMATCH, PROVER.proof(TOKEN), field=field) == "another_token"


def test_internal_host_and_other_paths_are_told_apart() -> None:
    expected = "https://api.example.com/a or https://www.example.com/v1/a"
    reason = Reason.PROOF_TARGET_MISMATCH
    assert mistake(reason, expected=expected, presented="http://api.svc:8080/a") == "another_origin"
    assert mistake(reason, expected=expected, presented="https://api.example.com/b") == "another_target"


def test_signature_in_der_is_named() -> None:
    signed = PROVER.proof(TOKEN).rpartition(".")[0]
    key: Any = PROVER.signer.key
    der = f"{signed}.{base64url(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))}"
    assert mistake(Reason.PROOF_SIGNATURE_INVALID, der) == "der_signature"
    assert mistake(Reason.PROOF_SIGNATURE_INVALID, PROVER.proof(TOKEN)) is None
    assert mistake(Reason.PROOF_SIGNATURE_INVALID, signed + ".?") is None


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.SCHEME_MISMATCH, "bearer"), (Reason.PROOF_MISSING, "bearer"), (Reason.PROOF_EXPIRED, "clock"),
        (Reason.PROOF_NOT_YET_VALID, "clock"), (Reason.PROOF_KEY_MISMATCH, "another_key"),
        (Reason.PROOF_REPEATED, None), (Reason.PROOF_MALFORMED, None),
    ],
)  # fmt: skip
def test_other_failures_are_explained_where_there_is_something_to_say(
    reason: Reason, expected: str | None
) -> None:
    assert mistake(reason, "no proof") == expected


def test_time_in_milliseconds_is_named() -> None:
    assert mistake(Reason.PROOF_MALFORMED, PROVER.proof(TOKEN, iat=int(time.time() * 1000))) == "milliseconds"
    assert mistake(Reason.PROOF_MALFORMED, PROVER.proof(TOKEN, iat="x")) is None
    assert mistake(Reason.PROOF_MALFORMED, "a.b.c") is None
    assert mistake(Reason.PROOF_MALFORMED) is None
