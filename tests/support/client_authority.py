"""Who vouches for clients' certificates, without OpenSSL."""

from collections.abc import Sequence

from sidecar.decision.certificate import Certificate
from sidecar.decision.denial import Denied, Reason


class Vouching:
    """An authority that vouches for some certificates, by their thumbprints, until a time."""

    def __init__(self, *vouched: Certificate, until: float = float("inf")) -> None:
        self.vouched = frozenset(one.thumbprint for one in vouched)
        self.until = until
        self.asked: list[tuple[bytes, ...]] = []
        """The chain that came with each certificate."""

    def verify(self, certificate: Certificate, chain: Sequence[bytes], now: float) -> float:
        self.asked.append(tuple(chain))
        if certificate.thumbprint not in self.vouched or now > self.until:
            raise Denied(Reason.CLIENT_CERTIFICATE_UNTRUSTED, "chain", "an authority", "another")
        return self.until


class Registered:
    """Certificates that are registered, and how often another one was missed."""

    def __init__(self, *registered: Certificate) -> None:
        self.thumbprints = {one.thumbprint for one in registered}
        self.misses = 0

    def holds(self, thumbprint: bytes) -> bool:
        return thumbprint in self.thumbprints

    def missed(self, thumbprint: bytes) -> None:
        self.misses += 1
