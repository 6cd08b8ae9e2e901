"""An access token as its client presented it: opaque."""

from hashlib import blake2b
from typing import NewType, cast

TokenDigest = NewType("TokenDigest", bytes)
"""Keyed digest of an access token, 16 bytes: what caches and logs may hold."""


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
