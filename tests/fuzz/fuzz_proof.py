"""A DPoP proof, as anybody may send it: what is to be claimed, or `Denied`."""

from sidecar.decision.confirmation.proof_key import ProofKeyThumbprint
from sidecar.decision.denial import Denied
from sidecar.decision.origin import Origin
from sidecar.decision.proof import Claim, ProofTerms, judge
from sidecar.decision.proof_diagnosis import diagnose_proof
from sidecar.decision.proof_header import CHECKS
from sidecar.decision.proof_policy import PROOF_POLICY
from sidecar.decision.request import RequestHead
from sidecar.decision.token import AccessToken
from tests.fuzz.outcome import outcome
from tests.support.mint import segment
from tests.support.proofs import URL, ath, thumbprint

_TERMS = ProofTerms(PROOF_POLICY, (Origin("https://api.example.com"),))
_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
"""RFC 7515 §A.3.1."""
_VALUE = ProofKeyThumbprint().parse(thumbprint(_JWK))
_TOKEN = AccessToken("token", b"key", "DPoP")
_NOW = 1_000_000
_HEADER = {"typ": "dpop+jwt", "alg": "ES256", "jwk": _JWK}
_CLAIMS = {"jti": "a", "htm": "GET", "htu": URL, "iat": _NOW, "ath": ath("token")}
_REASONS = ProofKeyThumbprint().reasons

SEEDS = [
    f"{segment(_HEADER)}.{segment(_CLAIMS)}.{segment(b'x' * 64)}".encode(),
    f"{segment({**_HEADER, 'jwk': {**_JWK, 'd': 'AA'}})}.{segment(_CLAIMS)}.AA".encode(),
    f"{segment(_HEADER)}.{segment({**_CLAIMS, 'htu': 'https://[::1'})}.AA".encode(),
    f"{segment(_HEADER)}.{segment({**_CLAIMS, 'iat': 1e300})}.AA".encode(),
    b"a.b.c\na.b.c",
    b"a.b.c, d.e.f",
]


def target(data: bytes) -> None:
    """Proofs stand on lines. Nobody knows the key of the token, so none is ever good."""
    fields = tuple(data.decode("latin-1").split("\n"))
    head = RequestHead("GET", "/accounts/7", "/accounts/7", "", "", proofs=fields)
    found = outcome(lambda: judge(head, _TOKEN, _VALUE, _TERMS, _NOW))
    assert not isinstance(found, Claim)
    assert isinstance(found, Denied)
    assert found.reason in _REASONS
    assert found.failure.check in {name for name, _, _ in CHECKS}
    assert found.failure.presented.isascii()
    assert len(found.failure.presented) < 1000
    outcome(lambda: diagnose_proof(found.failure, head))


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
