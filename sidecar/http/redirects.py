"""Rewrites redirects of an API that knows only its own address, so that they lead to the origin that the client used.

An API behind a proxy may name itself by the address that it listens on, or as `http` because it sees no TLS. A client
that follows such a redirect leaves TLS and the sidecar. Such a URL gets the origin of the client's request; any other
is left unchanged, byte for byte.
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
        """`scheme`, `host` and `port` are the API's address; `scheme` is `http`, `https` or `unix`."""
        self._scheme = b"https" if scheme == "https" else b"http"
        names = {"localhost", "127.0.0.1", "[::1]"} if scheme == "unix" or _is_loopback(host) else set()
        if names and host:
            names.add(f"[{host}]" if ":" in host else host.lower())
        default = _DEFAULT_PORTS[self._scheme]
        suffix = default if scheme == "unix" else b":%d" % port
        self._own = {name.encode("ascii") + suffix for name in names}

    def bring_back(self, fields: ResponseFields, sent: RequestFields, origin: bytes) -> None:
        """Rewrite the fields of a response to a request with origin `origin` and fields `sent`: see `as_called`."""
        host = sent.hosts[0] if sent.hosts else b""
        fields.rewrite(lambda location: self.as_called(location, host, origin))

    def as_called(self, location: bytes, host: bytes, origin: bytes) -> bytes:
        """The new scheme and authority for a client that sent `host` in Host and used `origin`; empty if unchanged."""
        found = _ABSOLUTE.match(location)
        if found is None:
            return location
        scheme, authority, rest = found[1].lower(), found[2].lower(), found[3] or b""
        is_own = scheme == self._scheme and _with_port(authority, scheme) in self._own
        # The API repeats the client's Host and uses its own scheme, http, for the client's.
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
