"""DPoP proofs for the load client, made before a window so that making them costs nothing while it is measured.

Each window has a client key of its own: no key holds more of a peer's memory of used proofs than one pool.
"""

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from bench.material import Material

ORIGIN = "https://api.example.com"
PATH = "/accounts/1"


@dataclass(frozen=True, slots=True)
class Pool:
    """Files for the load client: one token, and proofs for requests with it, one a line."""

    tokens: Path
    proofs: Path


def make_pool(material: Material, name: str, count: int, *, bound: bool = True) -> Pool:
    """A new key, a token bound to it (RFC 9449 §6.1; `bound=False`: to another key), and `count` proofs."""
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = _jwk(key)
    token = material.es256_for(
        {"jkt": _thumbprint(jwk if bound else _jwk(ec.generate_private_key(ec.SECP256R1())))}
    )
    pool = Pool(material.directory / f"{name}.tokens", material.directory / f"{name}.proofs")
    pool.tokens.write_text(f"{token}\n")
    head = _compact({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk})
    ath = _encode(hashlib.sha256(token.encode()).digest())
    with pool.proofs.open("w") as file:
        for _ in range(count):
            file.write(f"{_proof(key, head, ath)}\n")
    return pool


def _proof(key: ec.EllipticCurvePrivateKey, head: str, ath: str) -> str:
    """RFC 9449 §4.2. No two of a run have the same `jti`: a peer may look at nothing else."""
    claims = {
        "jti": secrets.token_urlsafe(12),
        "htm": "GET",
        "htu": ORIGIN + PATH,
        "iat": int(time.time()),
        "ath": ath,
    }
    signed = f"{head}.{_compact(claims)}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    point = key.public_key().public_numbers()
    x, y = (_encode(number.to_bytes(32, "big")) for number in (point.x, point.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def _thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638 §3: the required members are all there are, in order."""
    return _encode(hashlib.sha256(json.dumps(jwk, separators=(",", ":")).encode()).digest())


def _compact(document: dict[str, object]) -> str:
    return _encode(json.dumps(document, separators=(",", ":")).encode())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
