"""An access token as its client presented it: opaque."""

from hashlib import blake2b
from typing import Final, NewType, cast

TokenDigest = NewType("TokenDigest", bytes)
"""Keyed digest of an access token, 16 bytes: what caches and logs may hold."""

_SPACE: Final = 1
"""RFC 6750 §2.1: between scheme and token."""


class AccessToken:
    """The string a client presented (RFC 6749 §1.4). Opaque: its `repr` shows a digest, never itself."""

    __slots__ = ("_value", "digest", "scheme")

    def __init__(self, value: str, key: bytes, scheme: str = "Bearer") -> None:
        """`key` is the process's random digest key (at most 64 bytes)."""
        self._value = value
        self.scheme = scheme
        """The authentication scheme that it came with, as it is registered."""
        self.digest = cast("TokenDigest", blake2b(value.encode("ascii"), digest_size=16, key=key).digest())

    def reveal(self) -> str:
        """The token itself. The only way to it, so that every use can be found."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"AccessToken({self.digest.hex()[:8]}…)"

    def __str__(self) -> str:
        return repr(self)


class LastPresented:
    """The `Authorization` value with which a presenter last brought a token that was known, and what was read from it.

    Most connections repeat one value, and to read it again costs more than all that is checked then: this holds the
    digest and the syntax, and nothing that can change from one request to the next. It holds the value too, so its
    owner keeps one at most and drops it when the connection is idle.
    """

    __slots__ = ("_hash", "_reader", "_value", "token")

    def __init__(self, value: str, token: AccessToken, reader: object) -> None:
        """`reader` stands for the schemes, the limit and the digest key by which `value` was read."""
        self._value = value
        self._hash = hash(value)
        self._reader = reader
        self.token = token

    def is_of(self, value: str, reader: object) -> bool:
        """Whether `value` is the same, byte for byte, and read by the same reader.

        A connection may carry the requests of several clients (a gateway's). How long this takes must not tell one of
        them how much of a guess at another's token is right. Therefore values that differ are told apart by their hash,
        64 bits that depend on all of the value and on a key of the process (PEP 456), before any byte is compared.
        """
        if reader is not self._reader:
            return False
        if value is not self._value:
            if hash(value) != self._hash or value != self._value:
                return False
            self._value = value  # the same object may come again: then nothing is compared
        return True

    @staticmethod
    def may_hold(value: str, token: AccessToken) -> bool:
        """Whether `value` is no longer than its token asks for: any number of spaces may stand before that."""
        return len(value) == len(token.scheme) + _SPACE + len(token)
