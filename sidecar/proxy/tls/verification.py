"""What becomes of what OpenSSL finds in a client's chain: the callback of the handshake, and the second look later.

Revocation (RFC 5280 §6.3): OpenSSL looks at every certificate of the chain. A certificate whose issuer has no list here
is refused when it is the client's own; an authority above it passes, is counted, and `sidecar check` warns of it,
because a root that has no list would refuse everyone. A list past its end refuses, wherever it stands.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from OpenSSL import SSL, crypto
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from sidecar.proxy.tls.revocation import RevocationList

_EE_KEY_TOO_SMALL: Final = 66
_CRL_MISSING: Final = 3
"""X509_V_ERR_UNABLE_TO_GET_CRL."""


class Verification:
    """What the handshake found out about the client's chain beside yes or no."""

    __slots__ = ("refused", "unchecked")

    def __init__(self) -> None:
        self.refused: str | None = None
        """Why, in OpenSSL's words."""
        self.unchecked = False
        """There is no list that could tell whether an authority of the chain is revoked."""


def of(connection: SSL.Connection) -> Verification:
    """What is noted of a connection's chain."""
    noted = connection.get_app_data()
    if not isinstance(noted, Verification):
        noted = Verification()
        connection.set_app_data(noted)
    return noted


def accept_possession(connection: SSL.Connection, _c: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """RFC 8705 §6.2: "it is not necessary for the resource server to validate the trust chain of the client's
    certificate". The handshake proves possession; a key too weak to prove it is refused.
    """
    if error == _EE_KEY_TOO_SMALL and depth == 0 and not ok:
        return _refuse(connection, error)
    return True


def accept_chain(connection: SSL.Connection, _c: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """What OpenSSL accepts, and an authority that no list speaks of."""
    if ok:
        return True
    if error == _CRL_MISSING and depth > 0:
        of(connection).unchecked = True
        return True
    return _refuse(connection, error)


def accept_chain_with_every_list(
    connection: SSL.Connection, _c: crypto.X509, error: int, _depth: int, ok: int
) -> bool:
    """What OpenSSL accepts: with `crl_required_for: chain` a list that is missing refuses, wherever."""
    return True if ok else _refuse(connection, error)


def _refuse(connection: SSL.Connection, error: int) -> bool:
    text = _ffi.string(_lib.X509_verify_cert_error_string(error)).decode("ascii", "replace")
    of(connection).refused = text
    return False


def check_revocation(store: crypto.X509Store, lists: Sequence[RevocationList]) -> None:
    """Make a store look at every certificate of a chain."""
    for each in lists:
        store.add_crl(each.crl)
    store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)


class SecondLook:
    """Judges chains outside a handshake, where OpenSSL's callback is out of reach: by one certificate at a time."""

    def __init__(self, ca_file: Path, lists: Sequence[RevocationList], *, needs_every_list: bool) -> None:
        """Raises `OpenSSL.crypto.Error` for a file without a certificate."""
        self._needs_every_list = needs_every_list
        self._chains = crypto.X509Store()
        self._chains.load_locations(str(ca_file))
        self._certificates: crypto.X509Store | None = None
        if lists:
            self._certificates = crypto.X509Store()
            self._certificates.load_locations(str(ca_file))
            for each in lists:
                self._certificates.add_crl(each.crl)
            self._certificates.set_flags(crypto.X509StoreFlags.CRL_CHECK)

    def accepts(self, chain: Sequence[bytes]) -> bool:
        """Whether a chain, DER, the client's certificate first, would be accepted now."""
        own, *others = (crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in chain)
        try:
            verified = crypto.X509StoreContext(self._chains, own, others).get_verified_chain()
        except crypto.X509StoreContextError:
            return False
        return all(self._is_current(verified[depth:], depth) for depth in range(len(verified)))

    def _is_current(self, chain: Sequence[crypto.X509], depth: int) -> bool:
        """Whether no list speaks against the first of `chain`."""
        if self._certificates is None:
            return True
        try:
            crypto.X509StoreContext(self._certificates, chain[0], chain[1:]).verify_certificate()
        except crypto.X509StoreContextError as error:
            return error.errors[0] == _CRL_MISSING and depth > 0 and not self._needs_every_list
        return True
