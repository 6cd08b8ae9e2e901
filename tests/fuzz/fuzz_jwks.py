"""A JWK set as an issuer publishes it: keys that may verify, and the others by name; or it is none."""

import json

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sidecar.issuer.http import FetchFailed
from sidecar.issuer.keys import NotAKeySet, load_key_set
from sidecar.issuer.metadata import parse_object
from tests.support.mint import SigningKey, jwks

_MOST = 4
SEEDS = [
    *(json.dumps(jwks(SigningKey.create(algorithm, "k"))).encode() for algorithm in ("ES256", "EdDSA")),
    b'{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"a"},{"kty":"oct","k":"AAAA"},1,null,[]]}',
    b'{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA","use":"enc","key_ops":["verify"],"alg":1}]}',
    b'{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA","d":"AAAA","x5c":["MIIB"],"kid":{}}]}',
    b'{"keys":{}}', b"[]", b'{"keys":[]}',
]  # fmt: skip


def target(data: bytes) -> None:
    """A key that is used is a public one of a kind that verifies, and none is looked at past the bound."""
    try:
        keys = load_key_set(parse_object(data), _MOST)
    except (FetchFailed, NotAKeySet):
        return
    assert len(keys) <= _MOST
    for key in keys.identities().values():
        assert isinstance(key.key, EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey)
        assert key.algorithms
        assert keys.is_current(key)
    for skipped in keys.skipped:
        assert skipped.reason.value
    again = load_key_set(json.loads(json.dumps(keys.document())), 6 * _MOST)
    assert len(again) == len(keys), "what is saved is what is loaded"


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
