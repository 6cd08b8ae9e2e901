"""The header of a DPoP proof: what is refused, the thumbprint of its key, and what is kept of it."""

import json
import time
from collections.abc import Mapping

import pytest

from sidecar.decision import proof_header as kept
from sidecar.decision.failure import Denied
from sidecar.decision.proof import ProofTerms, judge
from sidecar.decision.proof_header import KEPT, LONGEST_KEPT, keep, proof_header, thumbprint_of
from sidecar.decision.proof_policy import PROOF_POLICY
from sidecar.decision.reason import Reason
from sidecar.decision.strict import Malformed, base64url_text
from sidecar.decision.token import AccessToken
from tests.support.mint import base64url
from tests.support.proofs import Prover
from tests.support.world import ORIGIN, head

ACCEPTED = frozenset({"ES256", "EdDSA"})
PROVER = Prover.create()


def text(**changed: object) -> str:
    return PROVER.proof("token", header=changed).split(".")[0]


def refused(given: str, accepted: frozenset[str] = ACCEPTED) -> tuple[str, Reason]:
    with pytest.raises(Denied) as caught:
        proof_header(given, accepted)
    return caught.value.failure.check, caught.value.reason


def test_header_says_algorithm_and_key() -> None:
    found = proof_header(text(), ACCEPTED)
    assert (found.algorithm, base64url_text(found.thumbprint)) == ("ES256", PROVER.thumbprint)
    assert found.key() is found.key()


@pytest.mark.parametrize(
    ("changed", "check", "reason"),
    [
        ({"crit": ["exp"]}, "dpop.jwt", Reason.PROOF_MALFORMED),
        ({"b64": False}, "dpop.jwt", Reason.PROOF_MALFORMED),
        ({"typ": "JWT"}, "dpop.typ", Reason.PROOF_MALFORMED),
        ({"typ": None}, "dpop.typ", Reason.PROOF_MALFORMED),
        ({"alg": "none"}, "dpop.alg", Reason.PROOF_ALGORITHM_REFUSED),
        ({"alg": 7}, "dpop.alg", Reason.PROOF_ALGORITHM_REFUSED),
        ({"alg": "PS256"}, "dpop.alg", Reason.PROOF_ALGORITHM_REFUSED),
        ({"jwk": None}, "dpop.jwk", Reason.PROOF_KEY_REFUSED),
        ({"jwk": {"kty": "oct", "k": "AAAA"}}, "dpop.jwk", Reason.PROOF_KEY_REFUSED),
        ({"jwk": {**PROVER.jwk, "d": "AAAA"}}, "dpop.jwk", Reason.PROOF_KEY_REFUSED),
    ],
)
def test_header_is_refused_at_the_check_that_it_fails(
    changed: Mapping[str, object], check: str, reason: Reason
) -> None:
    assert refused(text(**changed)) == (check, reason)


@pytest.mark.parametrize("given", ["", "a", "é", base64url(b"[]"), base64url(b'{"typ":"a","typ":"b"}')])
def test_text_that_is_no_header_is_malformed(given: str) -> None:
    assert refused(given) == ("dpop.jwt", Reason.PROOF_MALFORMED)


def test_typ_that_is_missing_is_told_from_another() -> None:
    without = PROVER.proof("token", without=["typ"]).split(".")[0]
    with pytest.raises(Denied) as caught:
        proof_header(without, ACCEPTED)
    assert caught.value.failure.presented == "no typ"


def test_key_that_is_none_or_of_another_algorithm_is_refused_when_it_is_needed() -> None:
    off_the_curve = {**PROVER.jwk, "y": PROVER.jwk["x"]}
    for changed, reason in (
        ({"jwk": off_the_curve}, Reason.PROOF_KEY_REFUSED),
        ({"alg": "EdDSA"}, Reason.PROOF_ALGORITHM_REFUSED),
    ):
        header = proof_header(text(**changed), ACCEPTED)
        with pytest.raises(Denied) as caught:
            header.key()
        assert caught.value.reason is reason


def judged(prover: Prover, proof: str) -> None:
    terms = ProofTerms(PROOF_POLICY, (ORIGIN,))
    token = AccessToken("token", b"key", "DPoP")
    judge(head(proofs=(proof,)), token, thumbprint_of(prover.jwk), terms, time.time())


def test_header_is_kept_once_a_proof_with_it_was_good_and_never_before() -> None:
    prover = Prover.create()
    good = prover.proof("token")
    before, header = dict(kept._KEPT), good.split(".")[0]
    for bad in (
        good[:-6] + ("A" * 6 if not good.endswith("A" * 6) else "B" * 6),
        prover.proof("token", method="POST"),
        prover.proof("another"),
    ):
        with pytest.raises(Denied):
            judged(prover, bad)
    assert before == kept._KEPT
    judged(prover, good)
    assert proof_header(header, ACCEPTED) is kept._KEPT[header]
    judged(prover, prover.proof("token"))


def test_header_that_is_kept_is_still_refused_where_its_algorithm_is_not_accepted() -> None:
    """Issuers differ in what they accept; what is kept is what the text says."""
    judged(PROVER, PROVER.proof("token"))
    assert text() in kept._KEPT
    assert refused(text(), frozenset({"PS256"})) == ("dpop.alg", Reason.PROOF_ALGORITHM_REFUSED)


def test_headers_are_kept_in_bounded_number_and_size() -> None:
    header = proof_header(text(), ACCEPTED)
    for at in range(2 * KEPT):
        keep(f"header {at}", header)
        assert len(kept._KEPT) <= KEPT
    keep("x" * (LONGEST_KEPT + 1), header)
    assert not any(len(one) > LONGEST_KEPT for one in kept._KEPT)


def test_thumbprint_is_that_of_rfc_7638() -> None:
    """RFC 7638 §3.1, the example."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
        "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ"
        "vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK"
        "nqDKgw"
    )
    jwk = {"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert base64url_text(thumbprint_of(jwk)) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert base64url_text(thumbprint_of(PROVER.jwk)) == PROVER.thumbprint
    for other in ({"kty": "oct", "k": "x"}, {"kty": "EC"}, {}):
        with pytest.raises(Malformed):
            thumbprint_of(other)


def test_thumbprint_takes_any_text_without_raising_something_else() -> None:
    assert len(thumbprint_of(json.loads('{"kty":"OKP","crv":"\\ud800","x":"\\u00e4"}'))) == 32
