"""TLS for one client connection, over memory BIOs (pyOpenSSL): ciphertext in, plaintext out, no socket.

The data phase calls OpenSSL through pyOpenSSL's own binding (`_lib`): the public wrappers allocate a buffer for each
call and raise an exception for "no more data", which together cost more than the decryption.
"""

import re
from typing import Any, Final

from OpenSSL import SSL, crypto
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from sidecar.decision.key_exchange import group_named
from sidecar.decision.request import ClientCertificate
from sidecar.proxy.certificates import presented
from sidecar.proxy.tls.abstract import Engine
from sidecar.proxy.tls.sessions import Sessions
from sidecar.proxy.tls.verification import MESSAGES, Verification, listen

_RECORD: Final = 16384
_HEADER: Final = 5
_READ_BUFFER: Final = _ffi.new("char[]", _RECORD)
_READ_VIEW: Final = _ffi.buffer(_READ_BUFFER)
_DRAIN_SIZE: Final = 288 * 1024
_DRAIN_BUFFER: Final = _ffi.new("char[]", _DRAIN_SIZE)
_DRAIN_VIEW: Final = _ffi.buffer(_DRAIN_BUFFER)
# One event loop, one thread: no other code runs between a call that fills a buffer and the copy from it.

# Module constants, looked up once and not for every record.
_bio_read: Final = _lib.BIO_read
_bio_write: Final = _lib.BIO_write
_ssl_read: Final = _lib.SSL_read
_ssl_write: Final = _lib.SSL_write
_group_name: Final = getattr(_lib, "SSL_get0_group_name", None)
"""Not available in every version of the binding."""

_METHOD: Final = re.compile(rb"[A-Za-z-]{1,24}\Z")
_REQUEST: Final = re.compile(rb"[A-Za-z-]{1,24} ")
"""The first bytes of a plaintext HTTP request: OpenSSL recognises only the four methods that it knows."""
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
    """The handshake or the session failed. `result` is a stable short name, `detail` the text of OpenSSL."""

    def __init__(self, result: str, detail: str) -> None:
        super().__init__(detail)
        self.result = result
        self.detail = detail


class OpenSslEngine(Engine):
    """`Engine` with OpenSSL."""

    __slots__ = (
        "_connection",
        "_context",
        "_early",
        "_from_tls",
        "_noted",
        "_said",
        "_sessions",
        "_ssl",
        "_to_tls",
        "_torn",
    )

    def __init__(self, context: SSL.Context, sessions: Sessions) -> None:
        super().__init__()
        self._sessions: Sessions | None = sessions
        self._context = context
        self._connection: SSL.Connection | None = None
        """Created when the first record is complete: an incomplete ClientHello should not cost as much as a
        handshake.
        """
        self._early = b""
        """The received part of the first record."""
        self._noted: Verification | None = None
        self._said = 0
        """Messages of the client after the handshake that are not data, counted in OpenSSL's steps."""
        self._torn = b""
        """The beginning of a record header."""

    def receive(self, data: bytes) -> bytes:
        """Process received bytes; returns plaintext, often none. Raises `TlsFailure`."""
        if self._connection is None:
            data = self._early + data
            if not _is_first_record(data):
                self._early = data
                return b""
            if _REQUEST.match(data):
                raise TlsFailure("plain_http", "http request")
            self._begin()
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

    def _begin(self) -> None:
        self._early = b""
        if self._sessions is not None:
            self._sessions.keep_up()
        self._connection = connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        self._ssl = connection._ssl
        self._to_tls = connection._into_ssl
        self._from_tls = connection._from_ssl

    @property
    def _made(self) -> SSL.Connection:
        assert self._connection is not None  # noqa: S101 — not called before the handshake
        return self._connection

    def _is_one_record(self, data: bytes) -> bool:
        """Whether `data`, the next bytes of the stream, is exactly one record (RFC 8446 §5.1): then nothing follows
        it.
        """
        size = len(data)
        if self.due == 0 and size > _HEADER and not self._torn and _length(data, 0) == size:
            return True
        if self._torn:
            data = self._torn + data
            size = len(data)
        at = self.due
        while at + _HEADER <= size:
            at += _length(data, at)
            self.records += 1
        self.due, self._torn = (0, data[at:]) if at < size else (at - size, b"")
        return False

    def _handshake(self) -> bool:
        try:
            self._made.do_handshake()
        except SSL.WantReadError:
            if self._sessions is not None and _lib.SSL_session_reused(self._ssl):
                # Now it is known that a session is resumed, and its new tickets are not made yet.
                self._sessions.resumed(self._ssl)
                self._sessions = None
            return False
        except SSL.Error as error:
            raise self._failure(error) from None
        self.established = True
        return True

    def _failure(self, error: SSL.Error) -> TlsFailure:
        reasons = [str(entry[2]) for entry in error.args[0]] if error.args and error.args[0] else []
        detail = "; ".join(filter(None, reasons)) or type(error).__name__
        noted = self._made.get_app_data()
        if isinstance(noted, Verification) and noted.refused is not None:
            return TlsFailure("certificate_refused", noted.refused)
        for reason in reasons:
            if reason in _FAILURES:
                return TlsFailure(_FAILURES[reason], detail)
            if "alert" in reason:
                return TlsFailure("alert_from_client", detail)
        return TlsFailure("handshake_failed", detail)

    def _read(self, *, is_one_record: bool) -> bytes:
        ssl, first, rest = self._ssl, b"", None
        while (size := _ssl_read(ssl, _READ_BUFFER, _RECORD)) > 0:
            data: bytes = _READ_VIEW[:size]
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
            # not read on, so its buffer would hold everything that a client sends.
            while _bio_read(self._to_tls, _DRAIN_BUFFER, _DRAIN_SIZE) > 0:
                pass
        elif error != _lib.SSL_ERROR_WANT_READ:
            detail = _error_text()
            # OpenSSL's error queue belongs to the thread: its entries may come from another call.
            if not _lib.SSL_want_read(ssl):
                raise TlsFailure("session_broken", detail)
        noted = self._noted
        if noted is not None and noted.said:
            self._heard(noted)
        return first if rest is None else b"".join(rest)

    def _heard(self, noted: Verification) -> None:
        """Count a key update or renegotiation of the client: each costs as much as a request."""
        self.speaks = True
        self._said += noted.said
        noted.said = 0
        if self._said > MESSAGES:
            raise TlsFailure("too_many_messages", "the client's TLS keeps talking about itself")

    def outgoing(self) -> bytes:
        """The bytes that must be sent to the client now."""
        if self._connection is None:
            return b""
        size = _bio_read(self._from_tls, _DRAIN_BUFFER, _DRAIN_SIZE)
        if size <= 0:
            return b""
        data: bytes = _DRAIN_VIEW[:size]
        return data if size < _DRAIN_SIZE else data + self.outgoing()

    def send(self, plaintext: bytes) -> bytes:
        """Encrypt plaintext. Raises `TlsFailure`."""
        size = len(plaintext)
        if size and _ssl_write(self._ssl, plaintext, size) != size:
            raise TlsFailure("session_broken", _error_text())
        return self.outgoing()

    def settle(self) -> None:
        """Release the buffers that the handshake's messages needed: it is complete, and its output was taken."""
        self._renew_buffers()
        self._noted = listen(self._made)

    def rest(self) -> None:
        """Release the buffers if nothing is in them: each is as large as the most that was ever in it."""
        if self.established and not (_size(self._to_tls) or _size(self._from_tls)):
            self._renew_buffers()

    def _renew_buffers(self) -> None:
        connection = self._made
        into, out = _lib.BIO_new(_lib.BIO_s_mem()), _lib.BIO_new(_lib.BIO_s_mem())
        _lib.SSL_set_bio(self._ssl, into, out)  # it owns both, and frees the previous ones
        self._to_tls = connection._into_ssl = into
        self._from_tls = connection._from_ssl = out

    def client_certificate(self) -> ClientCertificate | None:
        """The certificate whose private key the client has proved to possess on this connection."""
        certificate = self._made.get_peer_certificate()
        if certificate is None:
            return None
        return presented(certificate)

    def chain(self) -> list[bytes]:
        """The certificates that the client sent, DER, its own first; in a resumed session only its own."""
        connection = self._made
        own = connection.get_peer_certificate()
        if own is None:
            return []
        others = connection.get_peer_cert_chain() or []
        found = [crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in (own, *others)]
        return list(dict.fromkeys(found))

    def is_resumed(self) -> bool:
        """Whether the handshake resumed a session."""
        return bool(_lib.SSL_session_reused(self._ssl))

    def is_unchecked(self) -> bool:
        """Whether an authority in the client's chain is not covered by any revocation list."""
        noted = self._made.get_app_data()
        return isinstance(noted, Verification) and noted.unchecked

    def negotiated(self) -> tuple[str, str]:
        """The TLS version (`1.3`, `1.2`) and the key exchange group; each is empty if OpenSSL does not report it."""
        version = self._made.get_protocol_version_name().removeprefix("TLSv")
        name = _group_name(self._ssl) if _group_name is not None else _ffi.NULL
        group = "" if name == _ffi.NULL else group_named(_ffi.string(name).decode("ascii", "replace"))
        return version, group

    def protocol(self) -> str:
        """The protocol selected by ALPN (RFC 7301); empty if the client did not offer any."""
        return self._made.get_alpn_proto_negotiated().decode("ascii", "replace")

    def shutdown(self) -> bytes:
        """The close_notify alert (RFC 8446 §6.1)."""
        if self.established:
            _lib.SSL_shutdown(self._ssl)
            _lib.ERR_clear_error()
        return self.outgoing()


def _is_first_record(data: bytes) -> bool:
    """Whether the first bytes can be judged: a whole handshake record, or bytes that begin neither a record nor a
    method.
    """
    if data[:1] != b"\x16":
        return bool(data) and not _METHOD.match(data)
    return len(data) >= _HEADER and not len(data) < _length(data, 0) <= _HEADER + _RECORD


def _size(bio: Any) -> int:
    """Number of bytes in a memory BIO."""
    size: int = _lib.BIO_get_mem_data(bio, _ffi.NULL)
    return size


def _length(data: bytes, at: int) -> int:
    """Length of the record that begins at `at`, in bytes, with its header."""
    return _HEADER + (data[at + 3] << 8 | data[at + 4])


def _error_text() -> str:
    texts = []
    while code := _lib.ERR_get_error():
        reason = _lib.ERR_reason_error_string(code)
        texts.append(_ffi.string(reason).decode("ascii", "replace") if reason else hex(code))
    return "; ".join(texts) or "connection lost"
