"""What the files say of DPoP (RFC 9449): what is asked of proofs, where the resource is, how replays are known."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from sidecar.decision.confirmable import CONFIRMABLE, Confirmable
from sidecar.decision.confirmation import METHODS
from sidecar.decision.origin import Origin
from sidecar.decision.proof_policy import PROOF_POLICY, ProofPolicy
from sidecar.settings.files import CertificateFile, ReadableFile, check_private
from sidecar.settings.nonce_file import nonces_in
from sidecar.settings.problem import shown
from sidecar.settings.redis_place import RedisPlace
from sidecar.settings.scalars import Duration, Text, as_list
from sidecar.settings.section import Section, mistake, nearest

REGISTERED: Final = frozenset({*METHODS, "jwk", "jwe", "kid", "jku", "osc"})
"""The IANA registry "JWT Confirmation Methods": each of these binds, so none may be called informative."""
LONGEST: Final = 300
"""Seconds: the longest window, and the furthest future, of a proof."""

Scheme = Literal["Bearer", "DPoP"]


def _member(name: str) -> str:
    if name in METHODS:
        return name
    raise ValueError(f"{shown(name)} is not a supported member of `cnf`{nearest(name, list(METHODS))}")


Member = Annotated[str, AfterValidator(_member), WithJsonSchema({"enum": list(METHODS), "type": "string"})]
"""A member of `cnf` (RFC 7800 §3.1) that some method confirms."""


def _informative(name: str) -> str:
    if name in REGISTERED:
        raise ValueError(f"{shown(name)} binds the token, so it cannot be informative")
    return name


Informative = Annotated[Text, AfterValidator(_informative)]


class Proof(Section):
    """What is asked of DPoP proofs for the tokens of one issuer."""

    window: Duration | None = None
    """How long ago a proof may have been made. Default: 60s, at most 5m."""
    future: Duration | None = None
    """How far ahead of ours its maker's clock may be. Default: 30s, at most 5m."""
    algorithms: (
        Annotated[
            list[Literal["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"]],
            Field(min_length=1),
        ]
        | None
    ) = None
    """Default: ES256, PS256, EdDSA."""
    nonce: Literal["none", "required"] | None = None
    """`required`: a proof must hold a nonce that was given here (RFC 9449 §9). Default: none."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        for name in ("window", "future"):
            value = getattr(self, name)
            if value is not None and value > LONGEST:
                raise mistake("more than 5m", name)
        return self

    def policy(self) -> ProofPolicy:
        """The same as a value."""
        given: dict[str, Any] = {
            name: int(getattr(self, name)) for name in ("window", "future") if getattr(self, name) is not None
        }
        if self.algorithms is not None:
            given["algorithms"] = frozenset(self.algorithms)
        return ProofPolicy(requires_nonce=self.nonce == "required", **given)


def proof_policy(section: Proof | None) -> ProofPolicy:
    """What an issuer asks of proofs."""
    return PROOF_POLICY if section is None else section.policy()


def confirmable(schemes: list[Scheme] | None, informative: list[str] | None) -> Confirmable:
    """How an issuer's tokens may come, and what their `cnf` may hold."""
    return Confirmable(tuple(schemes or CONFIRMABLE.schemes), frozenset(informative or ()))


class OriginSection(Section):
    """One place from which clients reach the protected resource."""

    origin: Text
    """Scheme, host and port: https://api.example.com."""
    prefix: Text | None = None
    """The beginning of the path that a proxy takes off before the request comes here: /v1."""

    @model_validator(mode="after")
    def _parsed(self) -> Self:
        try:
            self.value()
        except ValueError as problem:
            raise mistake(f"{shown(self.origin)} {problem}", "origin") from None
        return self

    def value(self) -> Origin:
        """The same as a value; raises `ValueError`."""
        return Origin.parse(self.origin, self.prefix or "")


def _origins(value: Any) -> Any:
    return [one if isinstance(one, dict) else {"origin": one} for one in as_list(value)]


Origins = Annotated[
    list[OriginSection],
    BeforeValidator(_origins, json_schema_input_type=Text | list[Text | OriginSection]),
    Field(min_length=1),
]


class Replay(Section):
    """Where proofs that were used are remembered (RFC 9449 §11.1)."""

    store: Literal["memory", "redis"] = "memory"
    """`memory`: of this replica alone, for all its workers. `redis`: a server of that protocol, for all replicas."""
    url_file: ReadableFile | None = None
    """With redis: one line, redis://user:password@host:6379/0, or rediss:// with TLS."""
    ca_file: CertificateFile | None = None
    """PEM: the authorities to trust for rediss. Default: the system's."""
    insecure_accept_when_unreachable: bool = False
    """DANGEROUS: a proof passes, used or not, while the server is out of reach."""
    insecure_url_readable_by_everyone: bool = False
    """DANGEROUS: accepts a URL with a password that every user of the machine may read."""

    @model_validator(mode="after")
    def _place(self) -> Self:
        if self.store == "memory":
            for name in sorted(self.model_fields_set - {"store"}):
                raise mistake(f"`{name}` has no effect with `store: memory`", name)
            return self
        if self.url_file is None:
            raise mistake("`store: redis` needs `url_file`", "store")
        if not self.url_file.exists():
            return self
        if not self.insecure_url_readable_by_everyone:
            check_private(self.url_file, "insecure_url_readable_by_everyone", "url_file")
        try:
            RedisPlace.parse(self.url_file.read_text("utf-8"))
        except (OSError, ValueError) as problem:
            raise mistake(str(problem), "url_file") from None
        return self


class Dpop(Section):
    """What the whole deployment shares for DPoP."""

    nonce_key_file: ReadableFile | None = None
    """One key a line, of 32 characters or more: the current one and, while it is replaced, the previous one. The same
    file on every replica, or a client is sent from one to the other.
    """
    replay: Replay = Replay()
    insecure_nonce_key_readable_by_everyone: bool = False
    """DANGEROUS: accepts a nonce key that every user of the machine may read."""

    @model_validator(mode="after")
    def _keys(self) -> Self:
        path = self.nonce_key_file
        if path is None or not path.exists():
            return self
        if not self.insecure_nonce_key_readable_by_everyone:
            check_private(path, "insecure_nonce_key_readable_by_everyone", "nonce_key_file")
        try:
            nonces_in(path)
        except (OSError, ValueError) as problem:
            raise mistake(str(problem), "nonce_key_file") from None
        return self
