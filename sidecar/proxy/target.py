"""The request target (RFC 9112 §3.2) and Host (RFC 9110 §7.2): taken apart for matching, never rewritten."""

import re
from typing import NamedTuple

from sidecar.decision.denial import Reason
from sidecar.proxy.http1 import Fault

# RFC 3986 §3.2.2, without userinfo: reg-name or IPv4address, or an IP-literal; then an optional port.
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?\Z")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)([/?].*)?\Z", re.IGNORECASE)


class Target(NamedTuple):
    """A request target, taken apart."""

    path: str
    """absolute-path, as received; `*` for asterisk-form."""
    query: str
    """After the first `?`; empty when there is none."""
    forwarded: str
    """What goes on the request line towards the upstream: the same bytes, in origin-form or asterisk-form."""
    host: str
    """For matching: lower case, without port and trailing dot."""


def parse(method: str, target: str, hosts: list[bytes], minor_version: int) -> Target | Fault:
    """Take a request target apart, or say what is wrong with it or with Host."""
    # RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message
    # that lacks a Host header field and to any request message that contains more than one Host header field line"
    if len(hosts) != 1 and (hosts or minor_version == 1):
        return Fault(Reason.REQUEST_MALFORMED, "exactly one Host is required")
    host = hosts[0].decode("latin-1") if hosts else ""
    if host and not _HOST.match(host):
        return Fault(Reason.REQUEST_MALFORMED, "Host is no host")
    if target[:1] != "/":
        if target == "*" and method == "OPTIONS":
            return Target("*", "", "*", matching_host(host))
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            return Fault(Reason.REQUEST_MALFORMED, "request target is in no form that RFC 9112 knows")
        # RFC 9112 §3.2.2 lets the target win over Host. Two hosts in one request have fooled too many: they agree.
        if absolute[1].lower() != host.lower() or not _HOST.match(absolute[1]):
            return Fault(Reason.REQUEST_MALFORMED, "Host differs from the target's authority")
        if absolute[2] is None and method == "OPTIONS":
            return Target("*", "", "*", matching_host(host))
        target = absolute[2] or "/"
        if target[0] == "?":
            target = "/" + target
    if "#" in target:
        return Fault(Reason.PATH_AMBIGUOUS, "a fragment in the request target")
    path, _, query = target.partition("?")
    return Target(path, query, target, matching_host(host))


def matching_host(host: str) -> str:
    """A Host value as rules compare it: lower case, no port, no trailing dot."""
    if host.endswith("]"):
        return host.lower()
    name, colon, _ = host.rpartition(":")
    return (name if colon else host).rstrip(".").lower()
