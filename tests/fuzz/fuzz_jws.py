"""A compact JWS from parse to verification: verified claims or `Denied`."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.decision import jose
from sidecar.decision.denial import Denied, shape
from sidecar.decision.ports import VerificationKey
from sidecar.decision.token import AccessToken
from tests.fuzz.outcome import outcome

SEEDS = [
    b"eyJhbGciOiJFUzI1NiIsImtpZCI6ImsiLCJ0eXAiOiJhdCtqd3QifQ.eyJpc3MiOiJ4In0.AAAA",
    b"eyJhbGciOiJub25lIn0.e30.",
    b"e30.e30.e30",
    b"a.b.c.d.e",
    b"eyJhbGciOiJFZERTQSIsImNyaXQiOltdfQ.e30.AA",
]
_ALGORITHMS = frozenset({"ES256"})


class _Keys:
    """A key that nothing here can sign for, under every `kid`."""

    def __init__(self) -> None:
        self._key = VerificationKey(None, _ALGORITHMS, ec.generate_private_key(ec.SECP256R1()).public_key())

    def fitting(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        return (self._key,) if algorithm in self._key.algorithms else ()

    def is_current(self, key: object) -> bool:
        return key is self._key


_KEYS = _Keys()


def target(data: bytes) -> None:
    """Nothing verifies: there is no private key."""
    token = AccessToken(data.decode("ascii", "ignore"), b"key")
    refused = outcome(lambda: _verified(token))
    assert isinstance(refused, Denied), "a signature by nobody"
    assert shape(refused.reason).status == 401
    assert refused.failure.presented.isascii()


def _verified(token: AccessToken) -> jose.VerifiedClaims:
    jws = jose.parse(token)
    assert isinstance(jws.claimed_issuer, str)
    return jose.verify(jws, _ALGORITHMS, _KEYS)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
