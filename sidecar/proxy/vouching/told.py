"""Reads a proxy's field with the client's certificate, and verifies the chain if the listener's `trust` is `ca`."""

from typing import Final

from sidecar.decision.client_certificate import ClientCertificate
from sidecar.decision.reason import Reason
from sidecar.http.certificate_field import CertificateFieldMalformed, parse
from sidecar.http.message import Fault, Field
from sidecar.proxy.certificates import UnusableCertificate, client_certificate
from sidecar.proxy.configuration import ToldCertificateSettings, Trust
from sidecar.proxy.tls.verification import Untrusted, chain_verification
from sidecar.proxy.vouching.proxies import Proxies

_NEVER: Final = float("inf")
_KEPT_BYTES: Final = 8 << 20
"""Memory for cached certificates, in bytes: some 5,000 of the usual size."""
_OVERHEAD: Final = 700
"""Bytes that a cached certificate takes in addition to its encoding."""


class Known:
    """A certificate from a field. Treat as immutable."""

    __slots__ = ("certificate", "chain", "size", "until")

    def __init__(self, certificate: ClientCertificate, chain: tuple[bytes, ...], until: float) -> None:
        self.certificate = certificate
        self.chain = chain
        """DER of the chain after it, in order."""
        self.until = until
        """Seconds since the epoch: when its chain has to be verified again."""
        self.size = _OVERHEAD + len(certificate.der) + sum(map(len, chain))


class ToldCertificates:
    """The certificates received on one listener, under one configuration."""

    __slots__ = ("_chains", "_form", "_known", "_size", "name", "names", "proxies", "requires_valid")

    def __init__(self, settings: ToldCertificateSettings) -> None:
        """Reads authorities and lists. Raises `OSError` and `ValueError`."""
        self._form = settings.format
        self.name = settings.name.lower().encode("ascii")
        """Name of the field, in lower case."""
        self.names = frozenset(name.lower().encode("ascii") for name in settings.names)
        """Names of the fields that are read."""
        self.proxies = Proxies(settings.proxies)
        self.requires_valid = settings.trust.trust is Trust.CA
        self._chains = chain_verification(settings.trust) if self.requires_valid else None
        self._known: dict[bytes, Known] = {}
        """By the digest of the received fields."""
        self._size = 0

    def find(self, key: bytes, now: float) -> Known | None:
        """The cached certificate, if it needs no new verification."""
        known = self._known.get(key)
        return known if known is not None and now < known.until else None

    def read(self, fields: list[Field], key: bytes, now: float) -> Known | Fault | None:
        """The certificate in the fields, cached under `key`, the digest of all of them; None: no certificate."""
        known = self.find(key, now)
        if known is not None:
            return known
        values = [value for name, value in fields if name.lower() == self.name]
        chain = [value for name, value in fields if name.lower() != self.name]
        try:
            told = parse(self._form, values, chain)
            if told is None:
                return None
            certificate = client_certificate(told.leaf)
        except CertificateFieldMalformed as malformed:
            return Fault(Reason.CERTIFICATE_HEADER_MALFORMED, f"{self._called}: {malformed}")
        except UnusableCertificate:
            return Fault(Reason.CERTIFICATE_HEADER_MALFORMED, f"{self._called}: OpenSSL reads no certificate")
        until = _NEVER
        if self._chains is not None:
            try:
                until = self._chains.good_until(self._chains.verified([told.leaf, *told.chain]))
            except Untrusted as untrusted:
                return Fault(Reason.CERTIFICATE_REFUSED, f"{self._called}: {untrusted}")
        return self._keep(key, Known(certificate, told.chain, until))

    @property
    def list_ends(self) -> tuple[float, ...]:
        """The end of each revocation list, in seconds since the epoch."""
        lists = self._chains.lists if self._chains is not None else ()
        return tuple(one.next_update for one in lists if one.next_update is not None)

    def accepts(self, certificate: ClientCertificate, chain: tuple[bytes, ...]) -> bool:
        """Whether a certificate that an earlier configuration accepted still passes."""
        return self._chains is None or self._chains.accepts([certificate.der, *chain])

    @property
    def _called(self) -> str:
        return self.name.decode("ascii")

    def _keep(self, key: bytes, known: Known) -> Known:
        before = self._known.pop(key, None)
        if before is not None:
            self._size -= before.size
        self._known[key] = known
        self._size += known.size
        while self._size > _KEPT_BYTES and len(self._known) > 1:
            self._size -= self._known.pop(next(iter(self._known))).size
        return known
