"""The origins under which clients reach the protected resource, and the comparison of `htu` with them (RFC 9449 §4.3).

Rules of this file: what a proof is held against is configured, never what a `Host` field says; two URIs are one only
if RFC 3986 §6.2.2 and §6.2.3 make them one. An escape of a reserved character is never decoded: `%2F` is no `/`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from sidecar.decision.strict import Malformed

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_TRIPLET: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9\-._~]")
_AUTHORITY: Final = re.compile(r"([a-z0-9\-._~]+|\[[0-9a-f:.]+\])(?::([0-9]{0,5}))?")
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*)?")
_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True)
class Origin:
    """One place from which clients reach the protected resource."""

    origin: str
    """Scheme and authority, normalised: `https://api.example.com`."""
    prefix: str = ""
    """What a proxy before the sidecar takes off the path, normalised; begins with `/`, does not end with one."""

    @classmethod
    def parse(cls, origin: str, prefix: str = "") -> "Origin":
        """From configuration. Raises `ValueError`, whose message is for the author of the configuration."""
        try:
            found, path = normalised(origin)
        except Malformed as problem:
            raise ValueError(f"is no origin: {problem}") from None
        if path != "/" or origin.endswith("/") or "?" in origin or "#" in origin:
            raise ValueError("is no origin: scheme, host and port, and nothing behind them")
        if prefix and (not prefix.startswith("/") or prefix.endswith("/") or not _PATH.fullmatch(prefix)):
            raise ValueError("prefix: a path that begins with / and does not end with /")
        return cls(found, _normalised_path(prefix) if prefix else "")

    def is_target(self, htu: tuple[str, str], path: str) -> bool:
        """Whether `htu`, normalised, is the URI of a request for `path` (normalised) that came this way."""
        return htu == (self.origin, self.prefix + path)


@lru_cache(maxsize=_REMEMBERED)
def normalised(uri: str) -> tuple[str, str]:
    """Scheme with authority, and path, of an http URI; query and fragment are left out.

    RFC 9449 §4.3: "servers SHOULD employ Syntax-Based Normalization (Section 6.2.2 of [RFC3986]) and Scheme-Based
    Normalization (Section 6.2.3 of [RFC3986]) before comparing the htu claim." Raises `Malformed`.
    """
    if not uri.isascii() or any(char <= " " or char in "\x7f\\" for char in uri):
        raise Malformed("a character that no URI has")
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise Malformed("no URI") from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise Malformed("neither https nor http")
    authority = _AUTHORITY.fullmatch(parts.netloc.lower())
    if authority is None or not _PATH.fullmatch(parts.path):
        raise Malformed("no URI of a host and a path")
    port = int(authority[2] or 0)
    shown = "" if port in (0, _DEFAULT_PORTS[scheme]) else f":{port}"
    return f"{scheme}://{authority[1]}{shown}", _normalised_path(parts.path)


@lru_cache(maxsize=_REMEMBERED)
def normalised_path(path: str) -> str:
    """The path of a request target, as `normalised` has it. Raises `Malformed`."""
    if not _PATH.fullmatch(path):
        raise Malformed("no path")
    return _normalised_path(path)


def _normalised_path(path: str) -> str:
    # RFC 3986 §6.2.2.1 and §6.2.2.2: escapes in upper case, none of an unreserved character; §6.2.3: no path is `/`.
    return _TRIPLET.sub(_unescaped, path) or "/"


def _unescaped(found: re.Match[str]) -> str:
    char = chr(int(found[0][1:], 16))
    return char if _UNRESERVED.fullmatch(char) else found[0].upper()
