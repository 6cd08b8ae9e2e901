"""Limits how long TLS sessions may be resumed: `session_lifetime`, counted from the full handshake.

Theory of operation. OpenSSL gives each TLS 1.3 ticket its own lifetime. A client that comes back in time and takes
new tickets would therefore never send its certificate again (RFC 8446 §4.6.1: a server may refuse tickets by the age
of the original handshake). A session passes the number of its lifetime to its tickets, so this number encodes the
time of the full handshake: a ticket lives for half of `session_lifetime`, minus as many seconds as the number of the
phase in which the handshake took place. A session that is resumed in the first half of `session_lifetime` gets new
tickets; they end before it does. After that it gets tickets that cannot be opened, and the client's next handshake is
a full one.

A lifetime under a minute is too short to be divided: such a session has only the tickets of its full handshake.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

_PHASES: Final = 16
"""Number of phases; each is an eighth of the lifetime, so no session lives through half of them."""
_DIVISIBLE: Final = 64
"""Minimum lifetime, in seconds, that is divided into phases."""
_SESSION: Final = 16 * 1024
"""Maximum bytes of a session that is parsed; a larger one (it contains the certificate) gets no further tickets."""
_BUFFER: Final = _ffi.new("unsigned char[]", _SESSION)


class Sessions:
    """The sessions of one `SSL.Context`."""

    def __init__(
        self,
        context: SSL.Context,
        lifetime: float,
        identity: bytes,
        ends: Iterable[float],
        clock: Callable[[], float],
    ) -> None:
        """`identity` is 32 bytes: a session is valid for one identity only. At each of `ends` (seconds since the
        epoch by `clock`) every session becomes invalid.
        """
        self._context = context._context
        self._clock = clock
        self._lifetime = max(1, int(lifetime))
        self._phase = self._lifetime / 8
        self._is_divisible = self._lifetime >= _DIVISIBLE
        self._identity = identity
        self._ends = sorted(ends)
        self._turn = 0.0
        """Time of the next change."""
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self.keep_up()

    def keep_up(self) -> None:
        """Apply changes that depend on time; called before each new connection."""
        now = self._clock()
        if now >= self._turn:
            self._turn_over(now)

    def _turn_over(self, now: float) -> None:
        passed = sum(end <= now for end in self._ends)
        # pyOpenSSL does not allow changes to a context in use; OpenSSL does, and applies them to later connections.
        identity = self._identity[:-1] + bytes((passed & 0xFF,))
        _lib.SSL_CTX_set_session_id_context(self._context, identity, len(identity))
        if not self._is_divisible:
            _lib.SSL_CTX_set_timeout(self._context, self._lifetime)
            turn = float("inf")
        else:
            phase = int(now / self._phase)
            _lib.SSL_CTX_set_timeout(self._context, self._lifetime // 2 - phase % _PHASES)
            turn = (phase + 1) * self._phase
        self._turn = min([turn, *self._ends[passed : passed + 1]])

    def resumed(self, ssl: Any) -> None:
        """Decide whether a resumed TLS 1.3 session gets more tickets; called in the handshake before they are made."""
        if not self._may_go_on(_timeout(ssl)):
            # Without RFC 5077 tickets, OpenSSL sends session ids for its cache, which is off.
            _lib.SSL_set_options(ssl, _lib.SSL_OP_NO_TICKET)

    def _may_go_on(self, timeout: int) -> bool:
        """Whether tickets made now end within the lifetime of a session whose tickets live for `timeout` seconds."""
        if not self._is_divisible:
            return False
        began_in = self._lifetime // 2 - timeout
        now = self._clock()
        phase = int(now / self._phase)
        began = (phase - (phase - began_in) % _PHASES) * self._phase
        return 0 <= began_in < _PHASES and now - began <= self._lifetime / 2


def _timeout(ssl: Any) -> int:
    """The lifetime of a session's tickets in seconds; -1 if unknown."""
    session = _lib.SSL_get_session(ssl)
    size = _lib.i2d_SSL_SESSION(session, _ffi.NULL)
    if not 0 < size <= _SESSION:
        return -1
    _lib.i2d_SSL_SESSION(session, _ffi.new("unsigned char **", _BUFFER))
    return session_timeout(bytes(_ffi.buffer(_BUFFER, size)))


def session_timeout(der: bytes) -> int:
    """The timeout of a session in OpenSSL's encoding: the INTEGER under tag [2] of a SEQUENCE; -1 if there is none."""
    _, at, end = element(der, 0)
    while at < end:
        tag, start, at = element(der, at)
        if tag == 0xA2:
            _, start, at = element(der, start)
            return int.from_bytes(der[start:at], "big")
    return -1


def element(der: bytes, at: int) -> tuple[int, int, int]:
    """The tag of the DER element at `at`, and the offsets at which its content begins and ends."""
    length, start = der[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    return der[at], start, start + length
