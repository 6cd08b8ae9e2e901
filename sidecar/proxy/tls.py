"""TLS for one client connection, over memory BIOs (pyOpenSSL).

Theory of operation. A `ServerTls` is made from one listener's settings and is immutable: a reload makes another. Each
connection gets an `Engine` that eats ciphertext and gives plaintext, so that the event loop's transport stays plain
TCP. Two things follow that asyncio's own TLS cannot do: a client certificate without a chain is accepted when
possession alone counts (RFC 8705 §6.2), and the alert of a failed handshake reaches the client.

Session resumption: tickets are sealed with keys that live and die with the `ServerTls`, and carry its session id
context, so a session never crosses listeners, trust settings, or a reload of either. A resumed session yields the
client certificate of the original handshake; its chain is not verified again, so its validity is (`_resumed`).

The data phase calls OpenSSL through pyOpenSSL's own binding (`_lib`): the public wrappers allocate a buffer for each
call and raise an exception for "no more data", which together cost more than the decryption.
"""

import hashlib
from collections.abc import Callable
from typing import Final, Protocol

from OpenSSL import SSL, crypto
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from sidecar.decision.request import ClientCertificate
from sidecar.proxy.configuration import AtHandshake, TlsSettings, Trust

_RECORD: Final = 16384
_HEADER: Final = 5
_READ_BUFFER: Final = _ffi.new("char[]", _RECORD)
_DRAIN_SIZE: Final = 288 * 1024
_DRAIN_BUFFER: Final = _ffi.new("char[]", _DRAIN_SIZE)
# One event loop, one thread: nothing runs between a call that fills a buffer and the copy out of it.

# Each under a name of its own, found once and not for every record.
_bio_read: Final = _lib.BIO_read
_bio_write: Final = _lib.BIO_write
_ssl_read: Final = _lib.SSL_read
_ssl_write: Final = _lib.SSL_write
_unpack: Final = _ffi.unpack

_CIPHERS_1_2: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
_EE_KEY_TOO_SMALL: Final = 66

_FAILURES: Final = {
    "peer did not return a certificate": "certificate_missing",
    "certificate verify failed": "certificate_refused",
    "no shared cipher": "no_shared_cipher",
    "unsupported protocol": "unsupported_protocol",
    "wrong version number": "not_tls",
    "http request": "plain_http",
    "no application protocol": "no_application_protocol",
    "unexpected eof while reading": "client_left",
    "packet length too long": "not_tls",
    "bad certificate": "certificate_unreadable",
}


class TlsFailure(Exception):
    """The handshake or the session failed. `result` is a stable short name, `detail` what OpenSSL says."""

    def __init__(self, result: str, detail: str) -> None:
        super().__init__(detail)
        self.result = result
        self.detail = detail


class Engine(Protocol):
    """One connection's TLS: bytes in, bytes out, no socket."""

    established: bool
    eof: bool
    """The client said that it will send no more (close_notify)."""

    def receive(self, data: bytes) -> bytes:
        """Take what the client sent; returns plaintext, often none. Raises `TlsFailure`."""

    def outgoing(self) -> bytes:
        """What must go to the client now: handshake, alerts."""

    def send(self, plaintext: bytes) -> bytes:
        """Plaintext to ciphertext."""

    def client_certificate(self) -> ClientCertificate | None:
        """The certificate whose key the client proved to hold. Raises `TlsFailure`."""

    def is_resumed(self) -> bool:
        """Whether the handshake resumed a session."""

    def settle(self) -> None:
        """Give back what only the handshake needed: it is over, and what it had to say is taken."""

    def shutdown(self) -> bytes:
        """The close_notify alert."""

    def chain(self) -> list[bytes]:
        """The certificates the client sent, DER, its own first; of a resumed session only that one."""


class ServerTls:
    """TLS of one listener under one set of files. Raises `OSError`, `SSL.Error` or `ValueError` for bad ones."""

    def __init__(self, settings: TlsSettings, listener: str) -> None:
        self.settings = settings
        self._context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        minimum = SSL.TLS1_3_VERSION if settings.minimum_version == "1.3" else SSL.TLS1_2_VERSION
        context.set_min_proto_version(minimum)
        context.set_cipher_list(_CIPHERS_1_2)
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        # An idle connection gives its record buffers back: 63 kB become 38 kB.
        context.set_mode(_lib.SSL_MODE_RELEASE_BUFFERS)
        # pyOpenSSL's default stops a write after one record; a memory BIO takes them all.
        context.clear_mode(_lib.SSL_MODE_ENABLE_PARTIAL_WRITE)
        context.use_certificate_chain_file(str(settings.certificate_file))
        context.use_privatekey_file(str(settings.private_key_file))
        context.check_privatekey()
        context.set_alpn_select_callback(_select_protocol)
        self._set_trust(settings)
        self._set_sessions(settings, listener)

    def _set_trust(self, settings: TlsSettings) -> None:
        mode = SSL.VERIFY_PEER
        if settings.at_handshake is AtHandshake.REQUIRED:
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        if settings.trust is Trust.ANY:
            self._context.set_verify(mode, _accept_possession)
            return
        if settings.ca_file is None:
            raise ValueError("trust: ca needs ca_file")
        self._context.load_verify_locations(str(settings.ca_file))
        self._context.load_client_ca(str(settings.ca_file).encode())
        if settings.crl_file is not None:
            store = self._context.get_cert_store()
            assert store is not None  # noqa: S101 — a context always has one
            load_crls(store, settings.crl_file.read_bytes())
        self._context.set_verify(mode, _accept_chain)

    def _set_sessions(self, settings: TlsSettings, listener: str) -> None:
        # RFC 8446 §4.6.1 lets a session be resumed wherever the ticket opens. The context names everything that
        # made this listener accept the certificate (nginx CVE-2025-23419 is what happens without).
        digest = hashlib.sha256(listener.encode())
        for part in (settings.trust.value, settings.at_handshake.value, settings.minimum_version):
            digest.update(b"\0" + part.encode())
        for file in (settings.ca_file, settings.crl_file, settings.certificate_file):
            digest.update(b"\0" + (file.read_bytes() if file is not None else b""))
        self._context.set_session_id(digest.digest())
        self._context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self._context.set_timeout(max(1, int(settings.session_lifetime)))

    def accepts(self, chain: list[bytes]) -> bool:
        """Whether a chain that an earlier configuration accepted still verifies under this one."""
        if self.settings.trust is Trust.ANY or not chain:
            return True
        own, *others = (crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in chain)
        store = self._context.get_cert_store()
        assert store is not None  # noqa: S101 — a context always has one
        try:
            crypto.X509StoreContext(store, own, others).verify_certificate()
        except crypto.X509StoreContextError:
            return False
        return True

    def engine(self) -> "OpenSslEngine":
        """TLS for one new connection."""
        return OpenSslEngine(self._context)


def load_crls(store: crypto.X509Store, pem: bytes) -> None:
    """Add every CRL of a PEM file to a store and make it check the end-entity certificate (RFC 5280 §6.3)."""
    from cryptography import x509  # noqa: PLC0415 — only listeners with a CRL

    marker = b"-----END X509 CRL-----"
    blocks = [block + marker for block in pem.split(marker)[:-1]]
    if not blocks:
        raise ValueError("crl_file holds no PEM CRL")
    for block in blocks:
        store.add_crl(x509.load_pem_x509_crl(block))
    store.set_flags(crypto.X509StoreFlags.CRL_CHECK)


def _select_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """RFC 7301: HTTP/1.1 or nothing; a client that offers only others hears so in the handshake."""
    if b"http/1.1" in offered:
        return b"http/1.1"
    raise TlsFailure("no_application_protocol", "the client offers no http/1.1")


def _accept_possession(connection: SSL.Connection, _c: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """RFC 8705 §6.2: "it is not necessary for the resource server to validate the trust chain of the client's
    certificate". The handshake proves possession; a key too weak to prove it is refused.
    """
    if error == _EE_KEY_TOO_SMALL and depth == 0 and not ok:
        return _refuse(connection, error)
    return True


def _accept_chain(connection: SSL.Connection, _c: crypto.X509, error: int, _depth: int, ok: int) -> bool:
    return True if ok else _refuse(connection, error)


def _refuse(connection: SSL.Connection, error: int) -> bool:
    text = _ffi.string(_lib.X509_verify_cert_error_string(error)).decode("ascii", "replace")
    connection.set_app_data(text)
    return False


class OpenSslEngine:
    """`Engine` on OpenSSL."""

    __slots__ = ("_connection", "_due", "_from_tls", "_ssl", "_to_tls", "_torn", "eof", "established")

    def __init__(self, context: SSL.Context) -> None:
        self._connection = connection = SSL.Connection(context, None)
        connection.set_accept_state()
        self._ssl = connection._ssl
        self._to_tls = connection._into_ssl
        self._from_tls = connection._from_ssl
        self._due = 0
        """Bytes that are still to come of the record that has begun."""
        self._torn = b""
        """The beginning of a record's header."""
        self.established = False
        self.eof = False

    def receive(self, data: bytes) -> bytes:
        """Take what the client sent; returns plaintext, often none. Raises `TlsFailure`."""
        view, size = data, len(data)
        while size:
            written = _bio_write(self._to_tls, view, size)
            if written <= 0:
                raise TlsFailure("out_of_memory", "memory BIO refused data")
            if written == size:
                break
            view, size = view[written:], size - written
        is_one_record = self._is_one_record(data)
        if not self.established and not self._handshake():
            return b""
        return self._read(is_one_record=is_one_record)

    def _is_one_record(self, data: bytes) -> bool:
        """Whether `data`, the next of the stream, is exactly one record (RFC 8446 §5.1): then nothing is behind it."""
        size = len(data)
        if self._due == 0 and size > _HEADER and not self._torn and _length(data, 0) == size:
            return True
        if self._torn:
            data = self._torn + data
            size = len(data)
        at = self._due
        while at + _HEADER <= size:
            at += _length(data, at)
        self._due, self._torn = (0, data[at:]) if at < size else (at - size, b"")
        return False

    def _handshake(self) -> bool:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            raise self._failure(error) from None
        self.established = True
        return True

    def _failure(self, error: SSL.Error) -> TlsFailure:
        reasons = [str(entry[2]) for entry in error.args[0]] if error.args and error.args[0] else []
        detail = "; ".join(filter(None, reasons)) or type(error).__name__
        refused = self._connection.get_app_data()
        if isinstance(refused, str):
            return TlsFailure("certificate_refused", refused)
        for reason in reasons:
            if reason in _FAILURES:
                return TlsFailure(_FAILURES[reason], detail)
            if "alert" in reason:
                return TlsFailure("alert_from_client", detail)
        return TlsFailure("handshake_failed", detail)

    def _read(self, *, is_one_record: bool) -> bytes:
        ssl, first, rest = self._ssl, b"", None
        while (size := _ssl_read(ssl, _READ_BUFFER, _RECORD)) > 0:
            data: bytes = _unpack(_READ_BUFFER, size)
            if is_one_record and size < _RECORD:
                return data
            if rest is not None:
                rest.append(data)
            elif first:
                rest = [first, data]
            else:
                first = data
        error = _lib.SSL_get_error(ssl, size)
        if error == _lib.SSL_ERROR_ZERO_RETURN:
            self.eof = True
            # RFC 8446 §6.1: "Any data received after a closure alert has been received MUST be ignored." OpenSSL does
            # not read on, so that its buffer would hold whatever a client cares to send.
            while _bio_read(self._to_tls, _DRAIN_BUFFER, _DRAIN_SIZE) > 0:
                pass
        elif error != _lib.SSL_ERROR_WANT_READ:
            detail = _error_text()
            # OpenSSL's queue of errors is the thread's: what is in it may be another call's.
            if not _lib.SSL_want_read(ssl):
                raise TlsFailure("session_broken", detail)
        return first if rest is None else b"".join(rest)

    def outgoing(self) -> bytes:
        """What must go to the client now."""
        size = _bio_read(self._from_tls, _DRAIN_BUFFER, _DRAIN_SIZE)
        if size <= 0:
            return b""
        data: bytes = _unpack(_DRAIN_BUFFER, size)
        return data if size < _DRAIN_SIZE else data + self.outgoing()

    def send(self, plaintext: bytes) -> bytes:
        """Plaintext to ciphertext. Raises `TlsFailure`."""
        size = len(plaintext)
        if size and _ssl_write(self._ssl, plaintext, size) != size:
            raise TlsFailure("session_broken", _error_text())
        return self.outgoing()

    def settle(self) -> None:
        """The handshake is over, and all that it left has been taken: give back the room that its messages needed."""
        connection, ssl = self._connection, self._ssl
        into, out = _lib.BIO_new(_lib.BIO_s_mem()), _lib.BIO_new(_lib.BIO_s_mem())
        _lib.SSL_set_bio(ssl, into, out)  # it owns both, and frees those that it had
        self._to_tls = connection._into_ssl = into
        self._from_tls = connection._from_ssl = out

    def client_certificate(self) -> ClientCertificate | None:
        """The certificate whose key the client proved to hold, from this very connection. Raises `TlsFailure`."""
        certificate = self._connection.get_peer_certificate()
        if certificate is None:
            return None
        try:
            return ClientCertificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))
        except ValueError as error:
            raise TlsFailure("certificate_unreadable", str(error)) from None

    def chain(self) -> list[bytes]:
        """The certificates the client sent, DER, its own first; of a resumed session only that one."""
        own = self._connection.get_peer_certificate()
        if own is None:
            return []
        others = self._connection.get_peer_cert_chain() or []
        found = [crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in (own, *others)]
        return list(dict.fromkeys(found))

    def is_resumed(self) -> bool:
        """Whether the handshake resumed a session."""
        return bool(_lib.SSL_session_reused(self._ssl))

    def shutdown(self) -> bytes:
        """The close_notify alert (RFC 8446 §6.1)."""
        if self.established:
            _lib.SSL_shutdown(self._ssl)
            _lib.ERR_clear_error()
        return self.outgoing()


def _length(data: bytes, at: int) -> int:
    """Bytes of the record that begins there, its header included."""
    return _HEADER + (data[at + 3] << 8 | data[at + 4])


def _error_text() -> str:
    texts = []
    while code := _lib.ERR_get_error():
        reason = _lib.ERR_reason_error_string(code)
        texts.append(_ffi.string(reason).decode("ascii", "replace") if reason else hex(code))
    return "; ".join(texts) or "connection lost"


EngineFactory = Callable[[], Engine]
