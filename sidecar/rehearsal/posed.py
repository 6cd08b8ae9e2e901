"""Converts the description of a hypothetical request into what a client would send, and its presenter.

It is the only converter: `sidecar explain` fills the description from arguments, the admin page from a form.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.decision.certificate import Certificate
from sidecar.decision.request import Presenter
from sidecar.http.message import Field
from sidecar.proxy.authorization_server.configuration import AuthorizationServerSettings
from sidecar.proxy.certificates import certificates as certificates_in
from sidecar.proxy.certificates import client_certificate
from sidecar.proxy.configuration import ListenerSettings, ProxySettings
from sidecar.rehearsal.endpoints import token_endpoint
from sidecar.rehearsal.protocol import call_target, chosen, with_call_fields
from sidecar.rehearsal.request import Sent, credentials, field, split, tls_of, with_host
from sidecar.settings.configuration import Loaded

_FORM: Final[Field] = (b"Content-Type", b"application/x-www-form-urlencoded")
_USUAL: Final = "GET"


class Unposable(Exception):
    """The description does not make a request."""

    def __init__(self, member: str, problem: str, value: str = "") -> None:
        super().__init__(f"{member}: {problem}")
        self.member = member
        """The name of the wrong attribute in `Asked`."""
        self.problem = problem
        """The error as text."""
        self.value = value
        """The value."""


class BesideCall(Unposable):
    """An attribute that a gRPC call determines itself was given too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The description of a request. Only `url` and `method` are required."""

    token: str = ""
    """With or without its scheme."""
    proof: str = ""
    """A DPoP proof (RFC 9449)."""
    method: str = _USUAL
    url: str = "/"
    headers: Sequence[str] = ()
    """`Name: value` each."""
    token_request: str | None = None
    """The form of a request to an endpoint of the authorization server (RFC 6749 §3.2)."""
    grpc: str = ""
    """`package.Service/Method`."""
    listener: str = ""
    """Name of the listener; empty: the first."""
    protocol: str = ""
    """The protocol; empty: the usual one of the listener and the request."""
    tls: str = ""
    """TLS version and group, as in `1.3/X25519`."""
    certificates: Sequence[Certificate] = ()
    """The client's certificate, and its chain."""


@dataclass(frozen=True, slots=True)
class Posed:
    """The request to explain."""

    sent: Sent
    presenter: Presenter
    others: Sequence[Certificate]
    """Certificates to which the token may be bound by mistake."""


def posed(asked: Asked, loaded: Loaded) -> Posed:
    """Convert under one configuration. Raises `Unposable`."""
    presenter = _presenter(asked, loaded.proxy)
    sent = _sent(asked, presenter.protocol, loaded.authorization_server)
    return Posed(sent, presenter, [*asked.certificates[1:], *_ours(loaded.proxy)])


def _presenter(asked: Asked, settings: ProxySettings) -> Presenter:
    listener = _listener(asked.listener, settings)
    try:
        version, group = tls_of(asked.tls)
    except ValueError as error:
        raise Unposable("tls", str(error), asked.tls) from None
    try:
        protocol = chosen(asked.protocol, listener, is_call=bool(asked.grpc))
    except ValueError as error:
        raise Unposable("protocol", str(error), asked.protocol) from None
    own = asked.certificates
    return Presenter(
        client_certificate(own[0].der) if own else None,
        listener.name,
        "explained",
        certificate_must_be_valid=listener.requires_valid_certificate,
        tls_version=version,
        tls_group=group,
        protocol=protocol,
        chain=tuple([one.der for one in own[1:]]),
    )


def _listener(name: str, settings: ProxySettings) -> ListenerSettings:
    known = {one.name: one for one in settings.listeners}
    found = known.get(name) if name else next(iter(known.values()))
    if found is None:
        raise Unposable("listener", f"one of {', '.join(known)}", name)
    return found


def _sent(asked: Asked, protocol: str, server: AuthorizationServerSettings | None) -> Sent:
    try:
        host, target = split(asked.url)
    except ValueError as error:
        raise Unposable("url", str(error), asked.url) from None
    method, fields, body = asked.method, _fields(asked.headers), b""
    if asked.grpc:
        method, target, fields = "POST", _call(asked, target), with_call_fields(fields)
    fields += credentials(asked.token, asked.proof)
    if asked.token_request is not None:
        if server is None:
            raise Unposable("token_request", "this configuration has no `authorization_server`")
        target = token_endpoint(server) if target == "/" else target
        method, body = "POST" if method == _USUAL else method, asked.token_request.encode()
        fields += [_FORM] if not any(name.lower() == b"content-type" for name, _ in fields) else []
    return Sent(method, target, with_host(fields, host), body, protocol)


def _fields(lines: Iterable[str]) -> list[Field]:
    found: list[Field] = []
    for line in lines:
        try:
            found.append(field(line))
        except ValueError as error:
            raise Unposable("headers", str(error), line) from None
    return found


def _call(asked: Asked, target: str) -> str:
    """The path of the gRPC call; `url` may name the host."""
    if target != "/":
        raise BesideCall("url", "a gRPC call has no other path: leave it out", asked.url)
    if asked.method not in {_USUAL, "POST"}:
        raise BesideCall("method", "a gRPC call is a POST: leave it out", asked.method)
    if asked.token_request is not None:
        raise BesideCall("token_request", "a gRPC call is not a form: leave one of them out")
    try:
        return call_target(asked.grpc)
    except ValueError as error:
        raise Unposable("grpc", str(error), asked.grpc) from None


def _ours(settings: ProxySettings) -> list[Certificate]:
    """The server's certificates and the clients' authorities: easily confused with the client's certificate."""
    found: list[Certificate] = []
    for listener in settings.listeners:
        for file in listener.own_files:
            try:
                found += certificates_in(file.read_bytes())
            except (OSError, ValueError):  # `check` and the reload report a broken file
                continue
    return found
