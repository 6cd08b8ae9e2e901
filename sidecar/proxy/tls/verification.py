"""Applies OpenSSL's verification of a client's chain: the callback of the handshake, and later verification.

Revocation (RFC 5280 §6.3): OpenSSL checks every certificate of the chain. If there is no list of a certificate's
issuer, a client certificate is refused. An authority is accepted and counted, and `sidecar check` warns of it,
because a root without a list would otherwise refuse every client. An expired list causes a refusal at any level. An
anchor that is not a root needs no list, and OpenSSL finds none, because its issuer is not in the chain. An anchor
that a list revokes is not trusted.
"""

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from OpenSSL import SSL, crypto
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from sidecar.proxy.certificates import validity
from sidecar.proxy.configuration import CLIENT_AUTH, ChainTerms, CrlRequired, TrustSettings
from sidecar.proxy.tls.authorities import Authorities, is_authority, is_root, read_authorities
from sidecar.proxy.tls.revocation import RevocationList, revocation_lists

_EE_KEY_TOO_SMALL: Final = 66
_NEVER: Final = float("inf")
MOST_KEY_BITS: Final = 8192
"""Maximum bits of a key that is accepted from anybody: RSA verification time grows with the square of the length."""
_WRONG_PURPOSE: Final = 26
_CRL_MISSING: Final = 3
"""X509_V_ERR_UNABLE_TO_GET_CRL."""


MESSAGES: Final = 256
"""Steps that a client may cause after its handshake without sending data: some 100 key updates (RFC 8446 §4.6.3) or
renegotiation requests. Normal clients cause one in hours or gigabytes.
"""


class Verification:
    """Details of a client's TLS in addition to the verdict."""

    __slots__ = ("refused", "said", "unchecked")

    def __init__(self) -> None:
        self.refused: str | None = None
        """The reason for a refusal, in OpenSSL's words."""
        self.said = 0
        """Number of OpenSSL steps after the handshake that concern TLS itself."""
        self.unchecked = False
        """No list covers an authority of the chain."""


def of(connection: SSL.Connection) -> Verification:
    """The details recorded for a connection."""
    noted = connection.get_app_data()
    if not isinstance(noted, Verification):
        noted = Verification()
        connection.set_app_data(noted)
    return noted


@_ffi.callback("void(SSL *, int, int)")  # type: ignore[untyped-decorator]  # cffi has no types
def _on_step(ssl: object, _where: int, _value: int) -> None:
    connection = SSL.Connection._reverse_mapping.get(ssl)
    if connection is not None:
        of(connection).said += 1


def listen(connection: SSL.Connection) -> Verification:
    """From now on, count TLS activity of a connection other than reading or writing data."""
    _lib.SSL_set_info_callback(connection._ssl, _on_step)
    return of(connection)


def accept_possession(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
) -> bool:
    """RFC 8705 §6.2: "it is not necessary for the resource server to validate the trust chain of the client's
    certificate". The handshake proves possession; a key too weak to prove it is refused, and one so large that anybody
    could have us work on it.
    """
    if error == _EE_KEY_TOO_SMALL and depth == 0 and not ok:
        return _refuse(connection, error)
    if _bits(certificate) > MOST_KEY_BITS:
        of(connection).refused = f"a key of more than {MOST_KEY_BITS} bits"
        return False
    return True


def _bits(certificate: crypto.X509) -> int:
    try:
        return certificate.get_pubkey().bits()
    except crypto.Error:  # a key unknown to OpenSSL: possession cannot be proved
        return 0


def _refuse(connection: SSL.Connection, error: int) -> bool:
    of(connection).refused = _words(error)
    return False


def _words(error: int) -> str:
    return str(_ffi.string(_lib.X509_verify_cert_error_string(error)).decode("ascii", "replace"))


class Untrusted(Exception):
    """No trusted authority issued a chain; the message is OpenSSL's reason."""


class ChainVerification:
    """Verifies clients' chains with one set of authorities, in handshakes and later."""

    def __init__(self, terms: ChainTerms, authorities: Authorities, lists: Sequence[RevocationList]) -> None:
        self._usages = terms.extended_key_usage
        self._needs_every_list = terms.crl_required_for is CrlRequired.CHAIN
        self.authorities = authorities
        self.lists = tuple(lists)
        self._ends = min([one.next_update for one in lists if one.next_update is not None], default=_NEVER)
        self._authorities = [one for one in authorities.certificates if not _is_revoked(one, lists)]
        self._lists = lists
        self._partial = terms.partial_chain
        self._is_usual = self._usages == {CLIENT_AUTH}
        """OpenSSL's own check of the purpose is sufficient."""
        self._anchors = frozenset(_digest(one) for one in self._authorities)
        self._second: tuple[crypto.X509Store, crypto.X509Store] | None = None

    def prepare(self, store: crypto.X509Store) -> None:
        """Set authorities, lists and purposes of a store."""
        self._add_chains(store, self._purpose)
        if self._lists:
            self._add_lists(store, crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)

    @property
    def _purpose(self) -> int:
        return int(_lib.X509_PURPOSE_SSL_CLIENT if self._is_usual else _lib.X509_PURPOSE_ANY)

    def _add_chains(self, store: crypto.X509Store, purpose: int) -> None:
        for each in self._authorities:
            store.add_cert(each)
        _lib.X509_STORE_set_purpose(store._store, purpose)
        if self._partial:
            store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)

    def _add_lists(self, store: crypto.X509Store, flags: int) -> None:
        for each in self._lists:
            store.add_crl(each.crl)
        store.set_flags(flags)

    def accept(
        self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        """OpenSSL's callback: its verdict, plus our own check of purposes, and tolerance for authorities without a
        list.
        """
        if ok:
            return self._is_usual or self._is_fit(certificate) or _refuse(connection, _WRONG_PURPOSE)
        if depth > 0 and self._is_tolerable(certificate, error):
            if not self._is_anchor(certificate):
                of(connection).unchecked = True
            return True
        return _refuse(connection, error)

    def _is_tolerable(self, certificate: crypto.X509, error: int) -> bool:
        """Whether a missing list is tolerated, because the certificate is an authority and not the client's."""
        return error == _CRL_MISSING and (not self._needs_every_list or self._is_anchor(certificate))

    def _is_anchor(self, certificate: crypto.X509) -> bool:
        return _digest(certificate) in self._anchors

    def _is_fit(self, certificate: crypto.X509) -> bool:
        """Whether a certificate allows one of the configured purposes, or states none (RFC 5280 §4.2.1.12)."""
        if not self._usages:
            return True
        try:
            extensions = certificate.to_cryptography().extensions
            found = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            return True
        except (ValueError, x509.DuplicateExtension):
            return False
        return any(one.dotted_string in self._usages for one in found)

    # --- the second look, where OpenSSL's callback is out of reach: one certificate at a time

    def accepts(self, chain: Sequence[bytes]) -> bool:
        """Whether a chain, DER, the client's certificate first, would be accepted now."""
        try:
            self.verified(chain)
        except Untrusted:
            return False
        return True

    def verified(self, chain: Sequence[bytes]) -> list[crypto.X509]:
        """The path from the first certificate of `chain` (DER) up to an authority, valid now. Raises `Untrusted`."""
        if self._second is None:
            self._second = crypto.X509Store(), crypto.X509Store()
            self._add_chains(self._second[0], self._purpose)
            self._add_chains(self._second[1], _lib.X509_PURPOSE_ANY)
            if self._lists:
                self._add_lists(self._second[1], crypto.X509StoreFlags.CRL_CHECK)
        try:
            own, *others = (crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in chain)
        except crypto.Error:
            raise Untrusted("a certificate of the chain cannot be read") from None
        try:
            verified = crypto.X509StoreContext(self._second[0], own, others).get_verified_chain()
        except crypto.X509StoreContextError as error:
            raise Untrusted(_words(error.errors[0])) from None
        if not self._is_usual and not all(self._is_fit(one) for one in verified):
            raise Untrusted(_words(_WRONG_PURPOSE))
        if self._lists:
            for depth in range(len(verified)):
                self._check_lists(self._second[1], verified[depth:], depth)
        return verified

    def good_until(self, verified: Sequence[crypto.X509]) -> float:
        """The earliest end, in seconds since the epoch, of the certificates of a verified chain and of the lists."""
        return min(self._ends, *(validity(one)[1] for one in verified))

    def _check_lists(self, store: crypto.X509Store, chain: Sequence[crypto.X509], depth: int) -> None:
        """Raises `Untrusted` if a list revokes the first certificate of `chain`, or cannot be used."""
        try:
            crypto.X509StoreContext(store, chain[0], chain[1:]).verify_certificate()
        except crypto.X509StoreContextError as error:
            if depth == 0 or not self._is_tolerable(chain[0], error.errors[0]):
                raise Untrusted(_words(error.errors[0])) from None


def chain_verification(settings: TrustSettings) -> ChainVerification:
    """Built from the files of `trust: ca`. Raises `OSError` and `ValueError`."""
    if settings.ca_file is None:
        raise ValueError("trust: ca needs ca_file")
    authorities = read_authorities(settings.ca_file.read_bytes())
    if settings.partial_chain and not all(map(is_authority, authorities.certificates)):
        raise ValueError("partial_chain: ca_file holds a certificate that is no authority (CA:TRUE)")
    lists: tuple[RevocationList, ...] = ()
    if settings.crl_file is not None:
        lists = revocation_lists(settings.crl_file.read_bytes())
    return ChainVerification(settings.chain_terms, authorities, lists)


def _is_revoked(certificate: crypto.X509, lists: Sequence[RevocationList]) -> bool:
    """Whether the lists revoke one of the configured authorities; OpenSSL checks roots itself."""
    if not lists or is_root(certificate):
        return False
    try:
        found = certificate.to_cryptography()
        return any(
            one.crl.issuer == found.issuer
            and one.crl.get_revoked_certificate_by_serial_number(found.serial_number) is not None
            for one in lists
        )
    except ValueError:
        return False


def _digest(certificate: crypto.X509) -> str:
    return certificate.digest("sha256").decode()
