"""Where an API's redirects lead: back to what the client called, when the API knows only its own address.

An API behind a proxy names itself by the address that it listens on, or calls itself `http` as it sees no TLS. A
client that follows leaves TLS, and the sidecar. Such a URL is written anew with the origin that the client called; any
other is left as it came, byte for byte.
"""

import re
from ipaddress import ip_address
from typing import Final

from sidecar.http.fields import RequestFields
from sidecar.http.response_fields import ResponseFields

_ABSOLUTE: Final = re.compile(rb"(https?)://([A-Za-z0-9._~\[\]:-]+)([/?#].*)?\Z", re.IGNORECASE | re.DOTALL)
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


class Redirects:
    """Rewrites Location and Content-Location (RFC 9110 §10.2.2, §8.7) for one API."""

    def __init__(self, scheme: str, host: str, port: int) -> None:
        """`scheme`, `host` and `port` are where the API listens: `http`, `https` or `unix`."""
        self._scheme = b"https" if scheme == "https" else b"http"
        names = {"localhost", "127.0.0.1", "[::1]"} if scheme == "unix" or _is_loopback(host) else set()
        if names and host:
            names.add(f"[{host}]" if ":" in host else host.lower())
        default = _DEFAULT_PORTS[self._scheme]
        suffix = default if scheme == "unix" else b":%d" % port
        self._own = {name.encode("ascii") + suffix for name in names}

    def bring_back(self, fields: ResponseFields, sent: RequestFields, origin: bytes) -> None:
        """The fields of an answer to a client that called `origin`, with what it `sent`: see `as_called`."""
        host = sent.hosts[0] if sent.hosts else b""
        fields.rewrite(lambda location: self.as_called(location, host, origin))

    def as_called(self, location: bytes, host: bytes, origin: bytes) -> bytes:
        """The URL for a client that sent `host` in Host and called `origin`: scheme and authority, or empty."""
        found = _ABSOLUTE.match(location)
        if found is None:
            return location
        scheme, authority, rest = found[1].lower(), found[2].lower(), found[3] or b""
        is_own = scheme == self._scheme and _with_port(authority, scheme) in self._own
        # The API repeats the client's Host and takes what it sees, cleartext, for what the client speaks.
        is_called = scheme == b"http" and host and authority.removesuffix(b":80") == host.lower()
        if not is_own and not is_called:
            return location
        return origin + rest if origin else rest if rest.startswith(b"/") else b"/" + rest


def _with_port(authority: bytes, scheme: bytes) -> bytes:
    has_port = b":" in authority.rpartition(b"]")[2]
    return authority if has_port else authority + _DEFAULT_PORTS[scheme]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
