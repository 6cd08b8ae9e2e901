"""`sidecar explain`: the arguments, and from them the request that is to be explained."""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar.authorizer import Authorizer
from sidecar.command.service_file import add_config
from sidecar.command.terminal import Progress, takes_colour
from sidecar.command.thumbprint import CertificateUnreadable, certificates
from sidecar.decision.certificate import Certificate
from sidecar.decision.ports import IssuerUnavailable
from sidecar.decision.replay import Rehearsal
from sidecar.decision.request import Presenter, RequestHead
from sidecar.http.message import Field
from sidecar.issuer.issuers import Issuers
from sidecar.proxy.certificates import client_certificate
from sidecar.proxy.configuration import HTTP1, HTTP2, ListenerSettings
from sidecar.rehearsal.assumption import AssumedKeys
from sidecar.rehearsal.endpoints import token_endpoint
from sidecar.rehearsal.explanation import SIGNATURE, Explanation, explain, unverified_claims
from sidecar.rehearsal.key_sources import FixedKeys, KeysUnreadable, asked, local_keys
from sidecar.rehearsal.protocol import call_target, chosen, with_call_fields
from sidecar.rehearsal.rendering import render
from sidecar.rehearsal.request import Reception, Sent, credentials, field, split, tls_of, with_host
from sidecar.rehearsal.token_request import NoEndpoint, explain_token_request
from sidecar.rehearsal.told import Unverifiable
from sidecar.settings import Loaded, load
from sidecar.settings.moment import parse_moment
from sidecar.settings.section import nearest


class Unexplainable(Exception):
    """The arguments do not make a request; the message is one line."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be explained."""

    sent: Sent
    presenter: Presenter
    now: float
    """Seconds since the epoch."""
    others: Sequence[Certificate]
    """Certificates that the token may be bound to by mistake."""
    above: Sequence[Certificate] = ()
    """Those that came with the client's."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add_config(parser)
    add("--token", metavar="T", help="the access token; @FILE reads it from a file, - from standard input")
    add("--proof", metavar="P", help="the DPoP proof; @FILE reads it from a file, - from standard input")
    add(
        "--certificate",
        type=Path,
        metavar="C",
        help="the client's certificate, PEM or DER; others in the file are compared too",
    )
    _declare_request(add)
    add("--listener", metavar="NAME", help="the listener; default: the first")
    add("--tls", default="", metavar="V[/G]", help="the client's TLS: 1.3 or 1.3/X25519; default: not known")
    add("--at", type=_moment, metavar="TIME", help="2027-01-31T12:00:00Z; default: now")
    add("--jwks", type=Path, metavar="FILE", help="the issuer's keys, from a file instead of the issuer")
    add(
        "--offline",
        action="store_true",
        help="ask no issuer: without keys at hand the signature is assumed good",
    )
    add("--format", choices=("text", "json"), default="text")


def _declare_request(add: Callable[..., argparse.Action]) -> None:
    add("--method", default="GET", metavar="M", help="default: GET")
    add(
        "--url",
        default="/",
        metavar="URL|PATH",
        help="https://api.example.com/accounts/1 or /accounts/1; default: /",
    )
    add(
        "--token-request",
        metavar="FORM",
        help="a request to an endpoint of the authorization server, grant_type=…&client_id=…; @FILE reads it from a "
        "file, - from standard input",
    )
    add(
        "--grpc",
        metavar="CALL",
        help="a call of gRPC, package.Service/Method: its method, path, content type and protocol",
    )
    add(
        "--protocol",
        choices=(HTTP1, HTTP2),
        default="",
        help="what the client speaks; default: http/1.1 where the listener offers it, h2 for a call of gRPC",
    )
    add("--header", action="append", default=[], metavar="H", help="'Name: value'; may be repeated")


def _moment(text: str) -> float:
    try:
        return parse_moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def execute(arguments: argparse.Namespace) -> int:
    """Explain; 0 for a permit, 1 for a denial or when the signature could not be verified."""
    loaded = load(arguments.config, absent_files_pass=True)
    try:
        if [arguments.token, arguments.proof, arguments.token_request].count("-") > 1:
            raise Unexplainable("--token -, --proof -, --token-request -: standard input holds one of them")
        if arguments.token_request is not None:
            return _shown(_of_token_request(loaded, arguments), arguments)
        pasted = _text(arguments.token)
        question = question_of(loaded, arguments, pasted, _text(arguments.proof))
        local = local_keys(loaded.issuers, arguments.jwks)
    except (Unexplainable, CertificateUnreadable, KeysUnreadable) as error:
        print(error, file=sys.stderr)
        return 1
    token = pasted.rpartition(" ")[2]
    progress = Progress(sys.stderr)
    progress.tell("asking the issuer …" if not arguments.offline else "")
    try:
        explanation = asyncio.run(explained(loaded, question, local, token, offline=arguments.offline))
    except Unverifiable as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        progress.end()
    return _shown(explanation, arguments)


def _shown(explanation: Explanation, arguments: argparse.Namespace) -> int:
    if arguments.format == "json":
        print(json.dumps(explanation.document(), indent=2))
    else:
        in_colour = takes_colour(sys.stdout)
        print("\n".join(render(explanation, in_colour=in_colour)))
    return 1 if explanation.is_refused or explanation.assumes_signature else 0


def _of_token_request(loaded: Loaded, arguments: argparse.Namespace) -> Explanation:
    """Raises `Unexplainable` and `CertificateUnreadable`."""
    settings = loaded.authorization_server
    if settings is None:
        raise Unexplainable("--token-request: this configuration has no `authorization_server`")
    if arguments.url == "/":
        arguments.url = token_endpoint(settings)
    arguments.method = "POST" if arguments.method == "GET" else arguments.method
    form = _text(arguments.token_request)
    question = question_of(loaded, arguments, _text(arguments.token), _text(arguments.proof))
    fields = question.sent.fields
    if not any(name.lower() == b"content-type" for name, _ in fields):
        fields = (*fields, (b"Content-Type", b"application/x-www-form-urlencoded"))
    sent = replace(question.sent, fields=fields, body=form.encode())
    question.presenter.chain = tuple(one.der for one in question.above)
    explained = explain_token_request(
        loaded, sent, question.presenter, question.now, offline=arguments.offline
    )
    try:
        return asyncio.run(explained)
    except (NoEndpoint, OSError, ValueError) as problem:
        raise Unexplainable(str(problem)) from None


async def explained(
    loaded: Loaded, question: Question, local: FixedKeys, token: str, *, offline: bool
) -> Explanation:
    """The explanation, by the keys at hand or, unless `offline`, the issuer's."""
    as_sent = Reception(loaded).receive(question.sent).head
    issuer = unverified_claims(as_sent).get("iss")
    name = issuer if isinstance(issuer, str) else ""
    if _has_keys(local, name):
        return await _watched(loaded, question, local)
    if not offline and (name in loaded.policy.issuers or _is_opaque(token)):
        async with asked(loaded.issuers, name) as issuers:
            if _has_keys(issuers, name) or _is_opaque(token):
                return await _watched(loaded, question, issuers)
    assumed = AssumedKeys(token)
    question = replace(question, sent=question.sent.with_token(token, assumed.token))
    explanation = await _watched(loaded, question, assumed, as_sent)
    return replace(explanation, assumes_signature=any(step.check == SIGNATURE for step in explanation.steps))


def _has_keys(source: FixedKeys | Issuers, issuer: str) -> bool:
    try:
        source.keys(issuer)
    except IssuerUnavailable:
        return False
    return True


def _is_opaque(token: str) -> bool:
    return bool(token) and token.count(".") not in {2, 4}


async def _watched(
    loaded: Loaded,
    question: Question,
    ports: FixedKeys | Issuers | AssumedKeys,
    as_sent: RequestHead | None = None,
) -> Explanation:
    reception = Reception(loaded)
    authorizer = Authorizer(
        loaded.policy,
        ports,
        ports,
        Rehearsal(),
        digest_key=os.urandom(32),
        nonces=loaded.nonces(),
        token_bytes=loaded.proxy.limits.token_bytes,
    )
    return await explain(
        authorizer,
        reception,
        reception.receive(question.sent),
        question.presenter,
        question.now,
        others=question.others,
        as_sent=as_sent,
    )


def _text(argument: str | None) -> str:
    if argument is None:
        return ""
    try:
        if argument == "-":
            argument = sys.stdin.read()
        elif argument.startswith("@"):
            argument = Path(argument[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise Unexplainable(f"{argument[1:]}: cannot be read as text") from None
    return argument.strip()


def question_of(loaded: Loaded, arguments: argparse.Namespace, token: str, proof: str = "") -> Question:
    """What the arguments ask; `token` is with its scheme or without.

    Raises `Unexplainable` and `CertificateUnreadable`.
    """
    listener = _listener(loaded, arguments.listener)
    own: list[Certificate] = []
    if arguments.certificate is not None:
        own = certificates(arguments.certificate)
    certificate = client_certificate(own[0].der) if own else None
    version, group = _tls(arguments.tls)
    protocol = _protocol(arguments, listener)
    return Question(
        sent=_sent(arguments, token, proof, protocol),
        presenter=Presenter(
            certificate,
            listener.name,
            "explained",
            certificate_must_be_valid=listener.requires_valid_certificate,
            tls_version=version,
            tls_group=group,
            protocol=protocol,
        ),
        now=time.time() if arguments.at is None else arguments.at,
        others=[*own[1:], *_ours(loaded)],
        above=own[1:],
    )


def _tls(text: str) -> tuple[str, str]:
    try:
        return tls_of(text)
    except ValueError as error:
        raise Unexplainable(f"--tls {text!r} is {error}") from None


def _listener(loaded: Loaded, name: str | None) -> ListenerSettings:
    names = [one.name for one in loaded.proxy.listeners]
    for listener in loaded.proxy.listeners:
        if name in {None, listener.name}:
            return listener
    raise Unexplainable(f"no listener is called {name}{nearest(name or '', names)}")


def _ours(loaded: Loaded) -> list[Certificate]:
    """The server's own certificates and the authorities of clients: easily taken for the client's."""
    found: list[Certificate] = []
    for listener in loaded.proxy.listeners:
        for path in listener.own_files:
            if path.is_file():
                found += certificates(path)
    return found


_URL_WANTED = "write https://api.example.com/accounts/1, or /accounts/1"


def _protocol(arguments: argparse.Namespace, listener: ListenerSettings) -> str:
    try:
        return chosen(arguments.protocol, listener, is_call=arguments.grpc is not None)
    except ValueError as error:
        option = f"--protocol {arguments.protocol}" if arguments.protocol else "--grpc"
        raise Unexplainable(f"{option}: {error}") from None


def _sent(arguments: argparse.Namespace, token: str, proof: str, protocol: str) -> Sent:
    try:
        host, target = split(arguments.url)
    except ValueError as error:
        raise Unexplainable(f"{arguments.url!r} is {error}: {_URL_WANTED}") from None
    if not target.startswith("/") and target != "*" and arguments.method != "CONNECT":
        raise Unexplainable(f"--url {arguments.url!r} is neither a URL nor a path: {_URL_WANTED}")
    fields, method = [_field(text) for text in arguments.header], arguments.method
    if arguments.grpc is not None:
        method, target = "POST", _call(arguments, target)
        fields = with_call_fields(fields)
    fields += credentials(token, proof)
    return Sent(method, target, with_host(fields, host), protocol=protocol)


def _call(arguments: argparse.Namespace, target: str) -> str:
    """The path of the call that is asked about; `--url` may name the host."""
    if target != "/" or arguments.method not in {"GET", "POST"} or arguments.token_request is not None:
        raise Unexplainable(
            "--grpc says method and path: leave out --method, --token-request and the path of --url"
        )
    try:
        return call_target(arguments.grpc)
    except ValueError as error:
        raise Unexplainable(f"--grpc {arguments.grpc!r} is {error}") from None


def _field(text: str) -> Field:
    try:
        return field(text)
    except ValueError as error:
        raise Unexplainable(f"{text!r} is {error}") from None
