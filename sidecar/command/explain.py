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
from sidecar.issuer.issuers import Issuers
from sidecar.proxy.configuration import HTTP1, HTTP2
from sidecar.rehearsal.assumption import AssumedKeys
from sidecar.rehearsal.endpoints import goes_to_endpoint
from sidecar.rehearsal.explanation import SIGNATURE, Explanation, explain, unverified_claims
from sidecar.rehearsal.key_sources import FixedKeys, KeysUnreadable, asked, local_keys
from sidecar.rehearsal.posed import Asked, BesideCall, Unposable, posed
from sidecar.rehearsal.rendering import render
from sidecar.rehearsal.request import Reception, Sent
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
        help="do not contact the issuer: without keys, the signature is assumed to be good",
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
        help="a gRPC call, package.Service/Method: sets method, path, content type and protocol",
    )
    add(
        "--protocol",
        choices=(HTTP1, HTTP2),
        default="",
        help="the client's protocol; default: http/1.1 if the listener offers it, h2 for a gRPC call",
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
            raise Unexplainable(
                "--token -, --proof -, --token-request -: only one of them can be read from standard input"
            )
        pasted = _text(arguments.token)
        question = question_of(loaded, arguments, pasted, _text(arguments.proof))
        if arguments.token_request is not None or _goes_to_endpoint(loaded, question):
            return _shown(_of_token_request(loaded, arguments, question), arguments)
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


def _goes_to_endpoint(loaded: Loaded, question: Question) -> bool:
    return goes_to_endpoint(loaded.authorization_server, question.sent.target)


def _of_token_request(loaded: Loaded, arguments: argparse.Namespace, question: Question) -> Explanation:
    """Raises `Unexplainable`."""
    explained = explain_token_request(
        loaded, question.sent, question.presenter, question.now, offline=arguments.offline
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
        elapsing=float,  # no time passes
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
    asked = Asked(
        token=token,
        proof=proof,
        method=arguments.method,
        url=arguments.url,
        headers=arguments.header,
        token_request=None if arguments.token_request is None else _text(arguments.token_request),
        grpc=arguments.grpc or "",
        listener=arguments.listener or "",
        protocol=arguments.protocol,
        tls=arguments.tls,
        certificates=certificates(arguments.certificate) if arguments.certificate is not None else (),
    )
    try:
        found = posed(asked, loaded)
    except Unposable as problem:
        raise Unexplainable(_said(problem, loaded)) from None
    target = found.sent.target
    if not target.startswith("/") and target != "*" and arguments.method != "CONNECT":
        raise Unexplainable(f"--url {arguments.url!r} is neither a URL nor a path: {_URL_WANTED}")
    now = time.time() if arguments.at is None else arguments.at
    return Question(found.sent, found.presenter, now, found.others)


_URL_WANTED = "write https://api.example.com/accounts/1, or /accounts/1"


def _said(problem: Unposable, loaded: Loaded) -> str:
    """What is wrong, in terms of the arguments."""
    value, option = problem.value, f"--{problem.member.replace('_', '-')}"
    if isinstance(problem, BesideCall):
        return "--grpc sets method and path: leave out --method, --token-request and the path of --url"
    match problem.member:
        case "listener":
            names = [one.name for one in loaded.proxy.listeners]
            return f"there is no listener named {value}{nearest(value, names)}"
        case "url":
            return f"{value!r} is {problem.problem}: {_URL_WANTED}"
        case "headers":
            return f"{value!r} is {problem.problem}"
        case "protocol":
            return f"{f'{option} {value}' if value else '--grpc'}: {problem.problem}"
        case "token_request":
            return f"{option}: {problem.problem}"
        case _:
            return f"{option} {value!r} is {problem.problem}"
