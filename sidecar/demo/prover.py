"""A client of the demo with its own key and no certificate: it proves possession of the key with each request."""

import json
import time
from hashlib import sha256
from uuid import uuid4

import jwt
from jwt.algorithms import ECAlgorithm

from sidecar.decision.proof_header import thumbprint_of
from sidecar.decision.strict import base64url_text
from sidecar.trust.certification import new_key


class Prover:
    """Makes DPoP proofs (RFC 9449 §4.2)."""

    def __init__(self) -> None:
        self._key = new_key()
        self._jwk = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))

    @property
    def thumbprint(self) -> str:
        """The `jkt` of tokens that are bound to the key (RFC 9449 §6.1)."""
        return base64url_text(thumbprint_of(self._jwk))

    def proof(self, token: str, method: str, url: str) -> str:
        """A proof for one request with this token."""
        claims = {
            "jti": str(uuid4()),
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
            "ath": base64url_text(sha256(token.encode()).digest()),
        }
        return jwt.encode(claims, self._key, "ES256", {"typ": "dpop+jwt", "jwk": self._jwk})
