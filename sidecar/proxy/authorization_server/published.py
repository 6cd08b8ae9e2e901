"""The certificates that a client publishes in its JWK set (RFC 8705 §2.2.2, RFC 7517 §4.7): `x5c` of each key.

Unusable keys are skipped and reported; the others are used. Only the first certificate of `x5c` is used, because the
chain is not validated (RFC 8705 §2.2).
"""

from base64 import b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.decision.certificate import Certificate
from sidecar.decision.jwk import UnusableKey, parse_jwk
from sidecar.decision.registered_client.fitness import unfitness
from sidecar.proxy.certificates import UnusableCertificate, certifies, client_certificate

MOST_KEYS: Final = 100
"""Maximum number of keys of a set that are read."""


_PURPOSE: Final = frozenset({"use", "key_ops", "alg", "kid"})
"""Members about use and name of a key are ignored: only its certificate is used."""


@dataclass(frozen=True, slots=True)
class PublishedCertificates:
    """The certificates of a JWK set."""

    certificates: tuple[Certificate, ...]
    keys: tuple[dict[str, Any], ...]
    """The JWK of each certificate: the public key only, without `use` and similar members."""
    skipped: tuple[str, ...]
    """Which keys are not used and why, without their content."""

    @property
    def thumbprints(self) -> frozenset[bytes]:
        """SHA-256 of each certificate."""
        return frozenset(one.thumbprint for one in self.certificates)


def published_certificates(document: object) -> PublishedCertificates:
    """The certificates of a parsed JWK set. Raises `ValueError` if it is not a JWK set."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ValueError("not a JWK set: no list `keys`")  # noqa: TRY004 — whatever type the document has
    found: list[tuple[Certificate, dict[str, Any]]] = []
    skipped: list[str] = []
    for place, key in enumerate(keys[:MOST_KEYS]):
        try:
            found.append(_certificate(key))
        except ValueError as problem:
            skipped.append(f"key {place + 1}: {problem}")
    if len(keys) > MOST_KEYS:
        skipped.append(f"{len(keys) - MOST_KEYS} keys past the first {MOST_KEYS}")
    certificates, public = (one for one, _ in found), (one for _, one in found)
    return PublishedCertificates(tuple(certificates), tuple(public), tuple(skipped))


def _certificate(key: Any) -> tuple[Certificate, dict[str, Any]]:
    """Raises `ValueError`."""
    chain = key.get("x5c") if isinstance(key, dict) else None
    if not isinstance(chain, list) or not chain or not isinstance(chain[0], str):
        raise ValueError("no certificate (`x5c`)")
    try:
        certificate = client_certificate(b64decode(chain[0], validate=True))
    except (NotBase64, UnusableCertificate):
        raise ValueError("`x5c` holds no certificate, or not in base64 (RFC 7517 §4.7)") from None
    bare = {name: value for name, value in key.items() if name not in _PURPOSE}
    try:
        public = parse_jwk(bare).key
    except UnusableKey as unusable:
        raise ValueError(f"{unusable.reason.value}: {unusable.detail}") from None
    # RFC 7517 §4.7: "The key in the first certificate MUST match the public key represented by other members".
    if not certifies(certificate, public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)):
        raise ValueError("the certificate in `x5c` is of another key")
    unfit = unfitness(certificate)
    if unfit is not None:
        raise ValueError(unfit)
    return certificate, bare
