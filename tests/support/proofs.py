"""Makes DPoP proofs (RFC 9449 §4.2), right ones and every kind of wrong one."""

import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tests.support.mint import SigningKey, base64url, public_jwk

URL = "https://api.example.com/accounts/7"


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """RFC 7638 §3, by its own words: the required members, in order, without white space."""
    members = {"EC": "crv kty x y", "RSA": "e kty n", "OKP": "crv kty x"}[jwk["kty"]].split()
    text = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"))
    return base64url(hashlib.sha256(text.encode()).digest())


def ath(token: str) -> str:
    """RFC 9449 §4.2."""
    return base64url(hashlib.sha256(token.encode()).digest())


@dataclass(frozen=True, slots=True)
class Prover:
    """A client with a key of its own."""

    signer: SigningKey

    @classmethod
    def create(cls, algorithm: str = "ES256") -> Self:
        """With a new key."""
        return cls(SigningKey.create(algorithm))

    @property
    def jwk(self) -> dict[str, Any]:
        return public_jwk(self.signer.key)

    @property
    def thumbprint(self) -> str:
        return thumbprint(self.jwk)

    @property
    def cnf(self) -> dict[str, str]:
        return {"jkt": self.thumbprint}

    def proof(
        self,
        token: str,
        method: str = "GET",
        url: str = URL,
        *,
        header: Mapping[str, object] | None = None,
        without: Sequence[str] = (),
        **claims: object,
    ) -> str:
        """A proof for one request; `header` and `claims` replace what would be right, `without` leaves it out."""
        protected = {"typ": "dpop+jwt", "alg": self.signer.algorithm, "jwk": self.jwk, **(header or {})}
        payload = {
            "jti": str(uuid.uuid4()), "htm": method, "htu": url, "iat": int(time.time()), "ath": ath(token), **claims,
        }  # fmt: skip
        return self.signer.sign(
            {name: value for name, value in payload.items() if name not in without},
            {name: value for name, value in protected.items() if name not in without},
        )
