"""Simulated clients with keys: their DPoP proofs (RFC 9449 §4.2), valid ones and all kinds of invalid ones."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sidecar.decision.nonce import Nonces
from sidecar.decision.policy import IssuerPolicy, Policy
from sidecar.decision.proof_header import thumbprint_of
from sidecar.decision.strict import base64url_text
from sidecar.rehearsal.trial.signing import PrivateKey, new_key, public_jwk, signed_jwt, usual
from sidecar.settings.case_sections import CaseProof, CaseRequest

_STRANGER = "a stranger"


@dataclass(slots=True)
class PlayedClients:
    """The keys of a run, by name, and their signatures."""

    policy: Policy
    nonces: Nonces | None
    """Makes the nonces that the sidecar issues."""
    _keys: dict[tuple[str, str], PrivateKey] = field(default_factory=dict)
    """Keys by owner and algorithm."""
    _made: int = 0

    def thumbprint(self, name: str, algorithm: str) -> str:
        """The `jkt` of a token that is bound to the key of this name (RFC 9449 §6.1)."""
        return base64url_text(thumbprint_of(public_jwk(self._key(name, algorithm), algorithm)))

    def algorithm(self, wanted: CaseProof | None, issuer: IssuerPolicy) -> str:
        """The key of the case's client."""
        named = None if wanted is None else wanted.algorithm
        return named or usual(issuer.proof.algorithms)

    def proof(
        self, wanted: CaseProof, request: CaseRequest, token: str, issuer: IssuerPolicy, now: float
    ) -> str:
        """A proof according to the case, for its request and its token."""
        algorithm = self.algorithm(wanted, issuer)
        name = wanted.key or "client"
        shown = public_jwk(self._key(name, algorithm), algorithm)
        header = {"typ": "dpop+jwt" if wanted.type is None else wanted.type, "alg": algorithm, "jwk": shown}
        claims = self._claims(request, token, issuer, now) | {"iat": int(now + (wanted.made_in or 0))}
        left_out = set(wanted.without)
        return signed_jwt(
            {member: value for member, value in header.items() if member not in left_out},
            {member: value for member, value in (claims | wanted.claims).items() if member not in left_out},
            self._key(_STRANGER if wanted.signed_by == "stranger" else name, algorithm),
            algorithm,
        )

    def _claims(self, request: CaseRequest, token: str, issuer: IssuerPolicy, now: float) -> dict[str, Any]:
        self._made += 1
        claims = {
            "jti": f"case-{self._made}",
            "htm": request.method or "GET",
            "htu": self._target(request),
            "ath": base64url_text(sha256(token.encode()).digest()),
        }
        if issuer.proof.requires_nonce and self.nonces is not None:
            claims["nonce"] = self.nonces.fresh(now)
        return claims

    def _target(self, request: CaseRequest) -> str:
        """RFC 9449 §4.2: without query. With the first of the origins, as a client configured with it would call it."""
        path = (request.target or "/").partition("?")[0]
        for one in self.policy.origins:
            return one.origin + one.prefix + path
        return f"https://{request.host or 'api.example.com'}{path}"

    def _key(self, owner: str, algorithm: str) -> PrivateKey:
        found = self._keys.get((owner, algorithm))
        if found is None:
            found = self._keys[owner, algorithm] = new_key(algorithm)
        return found
