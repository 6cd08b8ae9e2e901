"""A protected resource in memory: one issuer with keys, a policy, and requests to decide about.

`Keys` and `Introspection` are honest implementations of the ports: they hold what they are given and count what
they are asked.
"""

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sidecar.authorizer import Authorizer, Decision
from sidecar.decision.confirmable import Confirmable
from sidecar.decision.denial import Denial
from sidecar.decision.jose import canonical_algorithm
from sidecar.decision.keys_in_force import KeyRegister, KeysInForce
from sidecar.decision.matching import RequestMatch
from sidecar.decision.nonce import Nonces
from sidecar.decision.origin import Origin
from sidecar.decision.permit import Permit
from sidecar.decision.policy import IssuerPolicy, Policy, Rule
from sidecar.decision.ports import IssuerUnavailable, VerificationKey
from sidecar.decision.presentation import Presentation
from sidecar.decision.proof_policy import PROOF_POLICY, ProofPolicy
from sidecar.decision.replay import ReplayGuard
from sidecar.decision.request import Presenter, RequestHead
from sidecar.decision.token import AccessToken, ValidatedToken
from tests.support.mint import AUDIENCE, ISSUER, SigningKey
from tests.support.pki import Identity

DIGEST_KEY = b"digest key of the tests"
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)


def verification_key(key: SigningKey, algorithms: Iterable[str] = ()) -> VerificationKey:
    """The public half of a signing key, for its own algorithm unless told otherwise."""
    names = frozenset(map(canonical_algorithm, algorithms or [key.algorithm]))
    return VerificationKey(key.kid, names, key.key.public_key())


@dataclass(frozen=True)
class Jwks:
    """Keys of one issuer."""

    keys: tuple[VerificationKey, ...]

    def fitting(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        return [key for key in self.keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]

    def is_current(self, key: object) -> bool:
        return any(one is key for one in self.keys)


@dataclass
class Keys:
    """A `KeySource` whose issuers publish what the test says."""

    published: dict[str, Jwks]
    after_refresh: dict[str, Jwks | Exception] = field(default_factory=dict)
    """What a refresh brings; an issuer that is not here may not be asked."""
    refreshes: list[tuple[str, str | None]] = field(default_factory=list)
    outage: IssuerUnavailable | None = None

    @classmethod
    def of(cls, *keys: SigningKey, issuer: str = ISSUER) -> "Keys":
        return cls({issuer: Jwks(tuple(map(verification_key, keys)))})

    def publish(self, *keys: SigningKey, issuer: str = ISSUER) -> None:
        self.published[issuer] = Jwks(tuple(map(verification_key, keys)))

    def keys(self, issuer: str) -> Jwks:
        if self.outage is not None:
            raise self.outage
        return self.published[issuer]

    async def refreshed(self, issuer: str, kid: str | None, source: str = "") -> Jwks:
        self.refreshes.append((issuer, kid))
        await asyncio.sleep(0)
        brought = self.after_refresh.pop(issuer)
        if isinstance(brought, Exception):
            raise brought
        self.published[issuer] = brought
        return brought

    def may_refresh(self, issuer: str, kid: str | None, source: str = "") -> bool:
        return issuer in self.after_refresh


def registered(keys: Keys) -> KeyRegister:
    """What the product's issuers put in force when they have just published `keys`."""
    issuers: dict[str, KeysInForce] = {}
    for name, published in keys.published.items():
        issuers[name] = KeysInForce(time.monotonic, 3600)
        issuers[name].confirm(frozenset(published.keys), time.monotonic())
    register = KeyRegister()
    register.adopt(issuers)
    return register


@dataclass
class Introspection:
    """A `TokenIntrospector` that knows the answers by token, and remembers those it gave when `caches` is set."""

    answers: dict[tuple[str, str], ValidatedToken | bool | Exception]
    caches: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    _given: dict[tuple[str, str], ValidatedToken | bool] = field(default_factory=dict)

    def cached(self, token: AccessToken, issuer: str) -> ValidatedToken | bool | None:
        return self._given.get((issuer, token.reveal()))

    async def introspect(self, token: AccessToken, issuer: str, source: str = "") -> ValidatedToken | bool:
        key = (issuer, token.reveal())
        self.asked.append(key)
        await asyncio.sleep(0)
        answer = self.answers.get(key, False)
        if isinstance(answer, Exception):
            raise answer
        if self.caches:
            self._given[key] = answer
        return answer


def head(
    token: str | None = None, method: str = "GET", target: str = "/accounts/7", **facts: Any
) -> RequestHead:
    """A request head as the data plane makes it; `facts` overrides its fields."""
    path, _, query = target.partition("?")
    authorization = () if token is None else (f"Bearer {token}",)
    given: dict[str, Any] = {"host": "api.example.com", "authorization": authorization, **facts}
    return RequestHead(method, target, path, query, **given)


def presenter(identity: Identity | None = None, listener: str = "main", **facts: Any) -> Presenter:
    """The other end of a connection, with `identity`'s certificate when one is given."""
    certificate = None if identity is None else identity.presented
    return Presenter(certificate, listener, "192.0.2.1:4711", **facts)


def presentation(identity: Identity | None = None, now: float = 1_000_000, **facts: Any) -> Presentation:
    """A token as a request presents it, on a connection with `identity`'s certificate when one is given."""
    return Presentation(head(), presenter(identity, **facts), AccessToken("token", b"key"), now)


def issuer_policy(name: str = ISSUER, **facts: Any) -> IssuerPolicy:
    given: dict[str, Any] = {"audience": frozenset({AUDIENCE}), "algorithms": ALGORITHMS, **facts}
    return IssuerPolicy(name, **given)


def policy(*rules: Rule, issuers: Iterable[IssuerPolicy] | None = None, **facts: Any) -> Policy:
    """A policy; without rules it has one that takes any request with a valid, bound token."""
    known = [issuer_policy()] if issuers is None else issuers
    return Policy({one.issuer: one for one in known}, rules or (rule(),), **facts)


def rule(name: str = "all", path: str = "/**", **facts: Any) -> Rule:
    return Rule(name, facts.pop("match", RequestMatch(path=path)), **facts)


def authorizer(
    given: Policy,
    keys: Keys,
    introspection: Introspection | None = None,
    replay: ReplayGuard | None = None,
    nonces: Nonces | None = None,
    *,
    in_force: KeyRegister | None = None,
    elapsing: Callable[[], float] = time.monotonic,
    **limits: int,
) -> Authorizer:
    return Authorizer(
        given,
        keys,
        introspection,
        replay,
        digest_key=DIGEST_KEY,
        nonces=nonces,
        in_force=in_force,
        elapsing=elapsing,
        **limits,
    )


ORIGIN = Origin("https://api.example.com")
BOTH = Confirmable(("Bearer", "DPoP"))


def proving(*rules: Rule, proof: ProofPolicy = PROOF_POLICY, **facts: Any) -> Policy:
    """A policy whose one issuer binds tokens to keys, too."""
    given = issuer_policy(confirmable=facts.pop("confirmable", BOTH), proof=proof, **facts)
    return policy(*rules, issuers=[given], origins=(ORIGIN,))


def decide(
    given: Authorizer, request: RequestHead, connection: Presenter, now: float | None = None
) -> Decision:
    """The decision, waited for when the issuer has to be asked."""
    decision = given.authorize(request, connection, time.time() if now is None else now)
    if inspect.isawaitable(decision):
        return asyncio.run(cast("Coroutine[Any, Any, Decision]", decision))
    return decision


def permitted(decision: Decision) -> Permit:
    assert isinstance(decision, Permit), decision
    return decision


def denied(decision: Decision) -> Denial:
    assert isinstance(decision, Denial), decision
    return decision
