"""The scenarios of the demo: the client, its request, the expected and the actual result."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from sidecar.decision.strict import base64url
from sidecar.demo.client import Reply, ask, context
from sidecar.demo.grpc_api import METHOD, SERVICE
from sidecar.demo.grpc_client import call
from sidecar.demo.prover import Prover
from sidecar.demo.world import World
from sidecar.http.grpc import text_message
from sidecar.trust.certification import Identity

_LARGE = 100 * 1024 * 1024
OF_THE_API = "the API's answer"
"""Expected if the request reaches a user's API: any response."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One request and its expected result."""

    title: str
    promised: str
    """Status and, for a refusal, the reason."""
    client: Identity | None
    token: str | None
    path: str = "/accounts/42"
    method: str = "GET"
    fields: tuple[str, ...] = ()
    body_size: int = 0
    form: str = ""
    """A form to post (RFC 6749 §3.2)."""
    proof: str | None = None
    """A DPoP proof; the token is then sent as one that is bound to a key."""
    is_call: bool = False
    """A gRPC call: the status is `grpc-status`, and `path` is service and method."""
    verify: Callable[[Reply], str | None] = lambda _answer: None
    """Returns what is wrong with the answer apart from its status, or None."""

    @property
    def request(self) -> str:
        """The head of the request, with the token."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost", "Connection: close", *self.fields]
        if self.body_size:
            lines.append(f"Content-Length: {self.body_size}")
        if self.token is not None:
            lines.append(f"Authorization: {'Bearer' if self.proof is None else 'DPoP'} {self.token}")
        if self.proof is not None:
            lines.append(f"DPoP: {self.proof}")
        if self.form:
            lines += [f"Content-Length: {len(self.form)}", "Content-Type: application/x-www-form-urlencoded"]
        return "\r\n".join(lines) + f"\r\n\r\n{self.form}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A scenario and its actual result."""

    scenario: Scenario
    came: str
    kept: bool


async def play(world: World, scenario: Scenario) -> Outcome:
    """Send the request, and compare."""
    try:
        came, answer = await _came(world, scenario)
    except (OSError, EOFError, TimeoutError) as error:
        return Outcome(scenario, f"no answer: {type(error).__name__}", kept=False)
    by_api = came == str(answer.status)
    as_promised = by_api if scenario.promised == OF_THE_API else came == scenario.promised
    wrong = scenario.verify(answer) if as_promised else None
    return Outcome(scenario, wrong or came, as_promised and wrong is None)


async def _came(world: World, scenario: Scenario) -> tuple[str, Reply]:
    """The result in text, status and reason, and the answer."""
    if scenario.is_call:
        assert scenario.client is not None and scenario.token is not None  # noqa: S101, PT018 — all calls have both
        assert world.grpc_ready is not None  # noqa: S101 — without it there are no calls
        await world.grpc_ready
        reason, answer = await call(
            world.grpc_port, world.authority, scenario.client, scenario.path, scenario.token
        )
        return f"gRPC {answer.status} {reason}".rstrip(), answer
    settings = context(world.authority, scenario.client)
    answer = await ask(world.port, settings, scenario.request, scenario.body_size)
    reason = _reason(answer, *(("application/json", "error") if scenario.form else ()))
    return f"{answer.status} {reason}".rstrip(), answer


def _reason(answer: Reply, kind: str = "application/problem+json", member: str = "reason") -> str:
    """Why the sidecar refused; empty if the API answered."""
    if answer.status < 400 or not answer.field("Content-Type").startswith(kind):
        return ""
    try:
        document = json.loads(answer.body)
    except ValueError:
        return ""
    return str(document.get(member, "")) if isinstance(document, dict) else ""


def _no_forgery(answer: Reply) -> str | None:
    """Check that the API received the token's subject, and none of the client's forged fields."""
    seen = {name.lower(): value for name, value in json.loads(answer.body)["headers"].items()}
    if seen.get("x-auth-subject") != "alice":
        return f"X-Auth-Subject was {seen.get('x-auth-subject')}"
    if "x_auth_subject" in seen or "root" in seen.values():
        return "a forged field arrived"
    return "the token arrived" if "authorization" in seen else None


def _all_came(answer: Reply) -> str | None:
    return None if answer.size == _LARGE else f"{answer.size} bytes came"


def _all_arrived(answer: Reply) -> str | None:
    received = json.loads(answer.body)["received"]
    return None if received == _LARGE else f"{received} bytes arrived"


def scenarios(world: World) -> list[Scenario]:
    """All scenarios, in order."""
    token, me, thief, own = world.issuer.token, world.rightful, world.thief, world.self_signed
    good, past = token(me), int(time.time()) - 600
    forged = ("X-Auth-Subject: root", "X_Auth_Subject: root")
    return [
        Scenario("the rightful client", "200", me, good, verify=_no_forgery),
        Scenario("the same token, stolen: another certificate", "401 binding_mismatch", thief, good),
        Scenario("the same token without any certificate", "401 certificate_missing", None, good),
        Scenario("a token bound to nothing", "401 binding_missing", me, token(None)),
        Scenario("no token at all", "401 credentials_missing", me, None),
        Scenario("an expired token", "401 token_expired", me, token(me, iat=past, exp=past + 300)),
        Scenario("a token for another API", "401 audience_mismatch", me, token(me, aud="https://other")),
        Scenario("signed by a stranger", "401 signature_invalid", me, token(me, stranger=True)),
        Scenario("not signed: alg none", "401 algorithm_refused", me, world.issuer.unsigned_token(me)),
        Scenario("a scope is missing", "403 scope_insufficient", me, good, "/payments/7", "POST"),
        Scenario("a public route needs nothing", "200", None, None, "/healthz"),
        Scenario("a self-signed certificate, bound by the issuer", "200", own, token(own)),
        *_of_a_key(world, "200", "/accounts/42"),
        *_at_a_token_endpoint(world),
        Scenario("forged identity fields never arrive", "200", me, good, fields=forged, verify=_no_forgery),
        Scenario("100 MB down", "200", me, good, f"/download/{_LARGE}", verify=_all_came),
        Scenario("100 MB up", "200", me, good, "/upload", "POST", body_size=_LARGE, verify=_all_arrived),
        *_of_grpc(world, good),
    ]


def _of_grpc(world: World, token: str) -> list[Scenario]:
    """The sidecar in front of a gRPC API, over HTTP/2."""
    called = f"/{SERVICE}/{METHOD}"
    return [
        Scenario(
            "gRPC: the rightful client", "gRPC 0", world.rightful, token, called, is_call=True, verify=_owner
        ),
        Scenario(
            "gRPC: the same token, stolen",
            "gRPC 16 binding_mismatch",
            world.thief,
            token,
            called,
            is_call=True,
        ),
    ]


def _owner(answer: Reply) -> str | None:
    """Check that the API received the token's subject."""
    return None if answer.body == text_message(b"alice") else "the API was not told who calls"


def _at_a_token_endpoint(world: World) -> list[Scenario]:
    """Clients of an authorization server without certificate support (RFC 8705 §2)."""
    me = world.rightful

    def asks(title: str, promised: str, client: Identity | None, client_id: str = "reporting") -> Scenario:
        form = f"grant_type=client_credentials&client_id={client_id}"
        return Scenario(f"token endpoint: {title}", promised, client, None, "/token", "POST", form=form)

    bound = replace(asks("the registered certificate", "200", me), verify=lambda one: _not_bound(one, me))
    return [
        bound,
        asks("the client_id of another", "400 invalid_client", world.thief),
        asks("a client that is not registered", "400 invalid_client", me, "nobody"),
    ]


def _not_bound(answer: Reply, identity: Identity) -> str | None:
    payload = json.loads(answer.body)["access_token"].split(".")[1]
    claims = json.loads(base64url(payload))
    return None if claims.get("cnf") == {"x5t#S256": identity.thumbprint} else "the token is not bound"


def scenarios_of_any_api(world: World, path: str) -> list[Scenario]:
    """Scenarios for every API; the requests are for `path`."""
    token, me, thief, past = world.issuer.token, world.rightful, world.thief, int(time.time()) - 600
    good = token(me)
    return [
        Scenario("the rightful client", OF_THE_API, me, good, path),
        Scenario("the same token, stolen: another certificate", "401 binding_mismatch", thief, good, path),
        Scenario("the same token without any certificate", "401 certificate_missing", None, good, path),
        Scenario("a token bound to nothing", "401 binding_missing", me, token(None), path),
        Scenario("no token at all", "401 credentials_missing", me, None, path),
        Scenario("an expired token", "401 token_expired", me, token(me, iat=past, exp=past + 300), path),
        *_of_a_key(world, OF_THE_API, path),
    ]


def _of_a_key(world: World, promised: str, path: str) -> list[Scenario]:
    """A client without a certificate, whose token is bound to a key (RFC 9449), and attackers with its token or
    proof.
    """
    client, thief = Prover(), Prover()
    token = world.issuer.token(None, cnf={"jkt": client.thumbprint})
    url = world.origin + path.partition("?")[0]
    mine, forged = client.proof(token, "GET", url), thief.proof(token, "GET", url)
    elsewhere = client.proof(token, "GET", f"{world.origin}/elsewhere")
    return [
        Scenario("DPoP: a token bound to a key, with its proof", promised, None, token, path, proof=mine),
        Scenario("DPoP: the same proof once more", "401 proof_replayed", None, token, path, proof=mine),
        Scenario(
            "DPoP: the token stolen: another key", "401 proof_key_mismatch", None, token, path, proof=forged
        ),
        Scenario("DPoP: the token alone", "401 scheme_mismatch", None, token, path),
        Scenario(
            "DPoP: a proof for another URL", "401 proof_target_mismatch", None, token, path, proof=elsewhere
        ),
    ]
