"""The request target (RFC 9112 §3.2) and Host (RFC 9110 §7.2): parsed for matching, never rewritten."""

import re
from ipaddress import IPv6Address
from typing import Final

from sidecar.decision.denial import Reason
from sidecar.http.message import Fault

# RFC 9110 §7.2: uri-host [ ":" port ]. A reg-name (RFC 3986 §3.2.2) is restricted to the characters of host names
# (RFC 1123 §2.1, and `_`): with sub-delims, `admin.internal,a.bank.example` ends in `.bank.example`, and not every
# reader decodes escapes.
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?\Z"
)
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)([/?].*)?\Z", re.IGNORECASE)


_KNOWN_HOSTS: Final[dict[bytes, str]] = {}
"""Values of Host that are valid hosts → the form for matching. An API has few."""
_MOST_KNOWN: Final = 1024
_LONGEST_KNOWN: Final = 262
"""Bytes: 255 for a name (RFC 1035 §2.3.4), a final dot and a port. Longer values are not hosts."""


class Target:
    """A parsed request target."""

    __slots__ = ("forwarded", "host", "path", "query")

    def __init__(self, path: str, query: str, forwarded: str, host: str) -> None:
        self.path = path
        """absolute-path, as received; `*` for asterisk-form."""
        self.query = query
        """The part after the first `?`; empty if there is none."""
        self.forwarded = forwarded
        """The target on the request line to the upstream: the same bytes, in origin-form or asterisk-form."""
        self.host = host
        """For matching: lower case, without port and trailing dot."""


def parse(method: str, target: str, hosts: list[bytes], minor_version: int) -> Target | Fault:
    """Parse a request target, or return the fault of it or of Host."""
    # RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message
    # that lacks a Host header field and to any request message that contains more than one Host header field line"
    if len(hosts) != 1 and (hosts or minor_version == 1):
        return Fault(Reason.REQUEST_MALFORMED, "exactly one Host is required")
    received = hosts[0] if hosts else b""
    matched = _KNOWN_HOSTS.get(received)
    if matched is None:
        host = received.decode("latin-1")
        if host and (len(received) > _LONGEST_KNOWN or not _is_host(host)):
            return Fault(Reason.REQUEST_MALFORMED, "Host is no host")
        matched = matching_host(host)
        if len(_KNOWN_HOSTS) >= _MOST_KNOWN:
            _KNOWN_HOSTS.clear()  # else one client could fill it, and no further host would ever be cached
        _KNOWN_HOSTS[received] = matched
    if not target.startswith("/"):
        host = received.decode("latin-1")
        if target == "*" and method == "OPTIONS":
            return Target("*", "", "*", matched)
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            return Fault(Reason.REQUEST_MALFORMED, "request target is in no form that RFC 9112 knows")
        # RFC 9112 §3.2.2 gives the target precedence over Host. Different hosts are a known attack, so they must be
        # equal.
        if absolute[1].lower() != host.lower() or not host:
            return Fault(Reason.REQUEST_MALFORMED, "Host differs from the target's authority")
        if absolute[2] is None and method == "OPTIONS":
            return Target("*", "", "*", matched)
        target = absolute[2] or "/"
        if target[0] == "?":
            target = "/" + target
    if "#" in target:
        return Fault(Reason.PATH_AMBIGUOUS, "a fragment in the request target")
    path, _, query = target.partition("?")
    return Target(path, query, target, matched)


def _is_host(host: str) -> bool:
    if not _HOST.match(host):
        return False
    literal, bracket, _ = host.removeprefix("[").partition("]")
    try:
        return not bracket or IPv6Address(literal) is not None
    except ValueError:
        return False


def matching_host(host: str) -> str:
    """A Host value as rules compare it: lower case, no port, no trailing dot."""
    if host.endswith("]"):
        return host.lower()
    name, colon, _ = host.rpartition(":")
    return (name if colon else host).rstrip(".").lower()
