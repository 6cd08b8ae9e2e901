"""Verifies a client's certificate with OpenSSL, by the authorities that are registered for this client.

The chain is verified as in a handshake (`proxy.tls.verification`), since the listener may accept any certificate. The
result for a chain is cached while all of its certificates and the revocation lists are valid, so that a client with
many requests has its chain verified once. The lists are read with the configuration; a new list is a new
configuration, with an empty cache.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from math import inf
from typing import Final

from sidecar.decision.certificate import Certificate
from sidecar.decision.failure import Denied
from sidecar.decision.reason import Reason
from sidecar.proxy.authorization_server.configuration import AuthoritySettings
from sidecar.proxy.certificates import validity
from sidecar.proxy.configuration import ChainTerms
from sidecar.proxy.tls.authorities import read_authorities
from sidecar.proxy.tls.revocation import revocation_lists
from sidecar.proxy.tls.verification import MOST_KEY_BITS, ChainVerification, Untrusted

_REMEMBERED: Final = 16_384
"""Maximum number of cached chains: those of ten thousand clients, each a digest and a number."""
_LONGEST: Final = 10
"""Maximum number of certificates that a client may send in addition to its own."""


class TrustedAuthority:
    """The authorities of one file. Implements `decision.registered_client.method.ClientAuthority`."""

    def __init__(self, settings: AuthoritySettings) -> None:
        """Reads its files: call it off the event loop. Raises `OSError`, `ValueError`."""
        self._name = settings.ca_file.name
        lists = () if settings.crl_file is None else revocation_lists(settings.crl_file.read_bytes())
        authorities = read_authorities(settings.ca_file.read_bytes())
        terms = ChainTerms(partial_chain=settings.partial_chain)
        self._chains = ChainVerification(terms, authorities, lists)
        self._lists_end = min([one.next_update for one in lists if one.next_update is not None], default=inf)
        self._known: OrderedDict[bytes, float] = OrderedDict()

    def verify(self, certificate: Certificate, chain: Sequence[bytes], now: float) -> float:
        """See `ClientAuthority`."""
        key = certificate.thumbprint
        if chain:
            key = sha256(b"".join([key, *[sha256(one).digest() for one in chain]])).digest()
        until = self._known.get(key, 0.0)
        if now < until:
            self._known.move_to_end(key)
            return until
        until = self._verified((certificate.der, *chain))
        self._known[key] = until
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return until

    def _verified(self, sent: tuple[bytes, ...]) -> float:
        if len(sent) > _LONGEST + 1:
            raise self._denied(f"{len(sent) - 1} certificates above the client's")
        try:
            found = self._chains.verified(sent)
        except Untrusted as untrusted:
            raise self._denied(str(untrusted)) from None
        if any(one.get_pubkey().bits() > MOST_KEY_BITS for one in found):
            raise self._denied(f"a key of more than {MOST_KEY_BITS} bits")
        return min(self._lists_end, *(validity(one)[1] for one in found))

    def _denied(self, said: str) -> Denied:
        check = "client_authentication.chain"
        return Denied(Reason.CLIENT_CERTIFICATE_UNTRUSTED, check, f"an authority of {self._name}", said)
