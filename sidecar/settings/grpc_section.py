"""Calls of gRPC, as a rule names them; and what hinders that they come through.

A call is `POST /package.Service/Method` (gRPC over HTTP/2, "Requests"). Its content type is no part of the match: it is
the client's to choose, and an API may take the same method in another one (gRPC-Web, Connect). A rule that asked for it
would let such a request fall through to the next rule.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final

from sidecar.proxy.configuration import HTTP2, ListenerSettings, ProxySettings
from sidecar.settings.problem import Problem, shown
from sidecar.settings.review import PlacedRule
from sidecar.settings.scalars import Form
from sidecar.settings.section import Section

_PART: Final = r"(?:\*|\*?[A-Za-z0-9_]+(?:\*[A-Za-z0-9_]+)*\*?)"
ServicePattern = Annotated[
    str,
    Form(
        rf"^(?:\*\*|{_PART})(?:\.(?:\*\*|{_PART}))*$",
        "the full name of a service: bank.v1.Accounts; or bank.v1.*, or bank.** (`*`: one part, `**`: one and more)",
    ),
]
"""`package.Service`: names of letters, digits and _ with dots between them."""
MethodPattern = Annotated[
    str, Form(rf"^{_PART}$", "the name of a method without its service: GetAccount; or Get*")
]

CallService = Annotated[
    str, Form(r"^[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*$", "the full name of a service: bank.v1.Accounts")
]
CallMethod = Annotated[str, Form(r"^[A-Za-z0-9_]+$", "the name of a method without its service: GetAccount")]
"""The method of one call, as its service without wildcards."""


class GrpcCalls(Section):
    """Calls of gRPC: POST of /service/method, exactly."""

    service: ServicePattern
    """Full name, package.Service; * for one part between dots, or in a part for the rest of it, ** for one and more."""
    method: MethodPattern | None = None
    """Name; * for any characters. Default: each method of the service."""

    def path(self) -> str:
        """The template of their paths."""
        return "/" + "/".join("*" if "*" in name else name for name in self._names())

    def patterns(self) -> tuple[tuple[int, str], ...]:
        """The names that the template leaves open, and where they stand; as `RequestMatch.patterns`."""
        return tuple(
            (at, name) for at, name in enumerate(self._names()) if "*" in name and name not in _ANY[at]
        )

    def _names(self) -> tuple[str, str]:
        return self.service, self.method or "*"


_ANY: Final = (frozenset({"**"}), frozenset({"*"}))
"""What says no more of a service, and of a method, than that there is a name."""


def unspoken(rules: Iterable[PlacedRule], proxy: ProxySettings) -> Iterator[Problem]:
    """Warnings about rules for calls that no client can make here, or that the API is not asked."""
    for placed in rules:
        if placed.rule.match.is_grpc:
            if proxy.upstream.protocol != HTTP2:
                message = (
                    "the API is called in HTTP/1.1, which has no gRPC: calls get UNIMPLEMENTED (12)."
                    " If the API speaks HTTP/2, set `upstream: {protocol: h2}`"
                )
                yield placed.warning(message, "match", "grpc")
            names = placed.rule.match.listeners
            meant = [one for one in proxy.listeners if not names or one.name in names]
            if not any(map(_takes_calls, meant)):
                listed = ", ".join(shown(one.name) for one in meant)
                message = f"no gRPC call can arrive at {listed}: they need `protocols: [h2]`"
                yield placed.warning(message, "match", "grpc")


def _takes_calls(listener: ListenerSettings) -> bool:
    return HTTP2 in listener.protocols
