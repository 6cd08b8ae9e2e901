"""TLS of one listener under one set of files.

Session resumption: tickets are sealed with keys that exist as long as the `ServerTls`, and they carry its session id
context. A session is therefore never resumed on another listener, under other trust settings, or after a reload of
either. A resumed session has the client certificate of the original handshake. Its chain is not verified again, so
`Listener` checks its validity period. When a revocation list ends, every client has to make a full handshake.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Final

from OpenSSL import SSL
from OpenSSL._util import lib as _lib

from sidecar.proxy.configuration import HTTP1, AtHandshake, TlsSettings, Trust
from sidecar.proxy.tls.engine import OpenSslEngine, TlsFailure
from sidecar.proxy.tls.revocation import RevocationList
from sidecar.proxy.tls.sessions import Sessions
from sidecar.proxy.tls.verification import ChainVerification, accept_possession, chain_verification

_CIPHERS_1_2: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"


class ServerTls:
    """TLS of one listener under one set of files."""

    def __init__(
        self,
        settings: TlsSettings,
        listener: str,
        clock: Callable[[], float] = time.time,
        *,
        protocols: tuple[str, ...] = (HTTP1,),
    ) -> None:
        """Raises `OSError`, `SSL.Error` or `ValueError` for unusable files."""
        self.settings = settings
        self._chains: ChainVerification | None = None
        self._context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        minimum = SSL.TLS1_3_VERSION if settings.minimum_version == "1.3" else SSL.TLS1_2_VERSION
        context.set_min_proto_version(minimum)
        if not settings.resumes:
            # Without RFC 5077 tickets, the client gets session ids for a cache, which is off.
            context.set_options(SSL.OP_NO_TICKET)
        context.set_cipher_list(_CIPHERS_1_2)
        _set_groups(context, settings.groups)
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        # An idle connection releases its record buffers: 38 kB instead of 63 kB.
        context.set_mode(_lib.SSL_MODE_RELEASE_BUFFERS)
        # By default, pyOpenSSL stops a write after one record; a memory BIO takes all of them.
        context.clear_mode(_lib.SSL_MODE_ENABLE_PARTIAL_WRITE)
        context.use_certificate_chain_file(str(settings.certificate_file))
        context.use_privatekey_file(str(settings.private_key_file))
        context.check_privatekey()
        context.set_alpn_select_callback(_selecting(protocols))
        lists = self._set_trust(settings)
        ends = (one.next_update for one in lists if one.next_update is not None)
        self._sessions = Sessions(context, settings.session_lifetime, self._identity(listener), ends, clock)

    def _set_trust(self, settings: TlsSettings) -> tuple[RevocationList, ...]:
        """Set which certificates are accepted; returns the revocation lists in use."""
        mode = SSL.VERIFY_PEER
        if settings.at_handshake is AtHandshake.REQUIRED:
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        if settings.trust is Trust.ANY:
            self._context.set_verify(mode, accept_possession)
            # The issuer of the certificate does not matter here, so no client may cause the verification of a chain.
            self._context.set_verify_depth(0)
            return ()
        self._chains = chain_verification(settings)
        authorities = self._chains.authorities
        if not authorities.are_too_many_to_name:
            for one in authorities.certificates:
                _lib.SSL_CTX_add_client_CA(self._context._context, one._x509)
        store = self._context.get_cert_store()
        assert store is not None  # noqa: S101 — a context always has one
        self._chains.prepare(store)
        self._context.set_verify(mode, self._chains.accept)
        return self._chains.lists

    def _identity(self, listener: str) -> bytes:
        """Digest of all settings by which this listener accepts a certificate: a session must not be resumed under
        other settings.

        RFC 8446 §4.6.1 allows resumption wherever the ticket can be opened (nginx CVE-2025-23419 is the consequence).
        """
        settings = self.settings
        digest = hashlib.sha256(listener.encode())
        for part in (
            settings.trust.value,
            settings.at_handshake.value,
            settings.minimum_version,
            ":".join(settings.groups),
            settings.crl_required_for.value,
            str(settings.partial_chain),
            " ".join(sorted(settings.extended_key_usage)),
        ):
            digest.update(b"\0" + part.encode())
        for file in (settings.ca_file, settings.crl_file, settings.certificate_file):
            digest.update(b"\0" + (file.read_bytes() if file is not None else b""))
        return digest.digest()

    def accepts(self, chain: list[bytes]) -> bool:
        """Whether a chain that an earlier configuration accepted is valid under this one."""
        return self._chains is None or not chain or self._chains.accepts(chain)

    @property
    def list_ends(self) -> tuple[float, ...]:
        """The end of each revocation list in use, in seconds since the epoch (RFC 5280 §5.1.2.5)."""
        lists = self._chains.lists if self._chains is not None else ()
        return tuple(one.next_update for one in lists if one.next_update is not None)

    def engine(self) -> OpenSslEngine:
        """TLS for one new connection."""
        return OpenSslEngine(self._context, self._sessions)


def _set_groups(context: SSL.Context, groups: tuple[str, ...]) -> None:
    """Set the groups (RFC 8446 §4.2.7). Raises `ValueError` if this OpenSSL does not know one of them."""
    # `curves` is what OpenSSL called groups before TLS 1.3; the function is the same.
    if groups and not _lib.SSL_CTX_set1_curves_list(context._context, ":".join(groups).encode()):
        _lib.ERR_clear_error()
        raise ValueError(f"tls.groups: this OpenSSL does not know all of {', '.join(groups)}")


def _selecting(protocols: tuple[str, ...]) -> Callable[[SSL.Connection, list[bytes]], bytes]:
    """The ALPN callback (RFC 7301): selects our first protocol that the client offers; without one, the handshake
    fails.
    """
    known = [each.encode() for each in protocols]

    def select(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
        for each in known:
            if each in offered:
                return each
        raise TlsFailure("no_application_protocol", f"the client offers no {' or '.join(protocols)}")

    return select
