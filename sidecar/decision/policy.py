"""The policy: which issuers are trusted for what, and the rules; the first rule whose match fits decides.

Default deny is the empty policy: a request that no rule fits has no rule, and without a rule there is no permit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sidecar.decision.claim_names import CLAIM_NAMES, ClaimNames
from sidecar.decision.condition import Condition
from sidecar.decision.confirmable import CONFIRMABLE, Confirmable
from sidecar.decision.confirmation import ALIASES, SCHEMES
from sidecar.decision.matching import Matcher, RequestMatch
from sidecar.decision.origin import Origin
from sidecar.decision.proof_policy import PROOF_POLICY, ProofPolicy


class Binding(Enum):
    """How much proof of possession an issuer or a rule asks for; a bound token must confirm in every mode."""

    REQUIRED = "required"
    IF_BOUND = "if_bound"
    NOT_REQUIRED = "not_required"


class IntrospectWhen(Enum):
    """Which tokens an issuer is asked about (RFC 7662)."""

    NEVER = "never"
    OPAQUE = "opaque"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class ReportOnly:
    """Report instead of enforcing, until a day."""

    until: int
    """Seconds since the epoch: from then on the rule enforces."""


@dataclass(frozen=True, slots=True)
class IssuerPolicy:
    """What this protected resource accepts from one issuer."""

    issuer: str
    """Compared exactly with `iss` (RFC 9068 §4)."""
    audience: frozenset[str]
    """At least one must be in `aud`."""
    algorithms: frozenset[str] = frozenset({"ES256", "PS256", "EdDSA", "RS256"})
    token_types: frozenset[str] = frozenset({"at+jwt"})
    """Lower case, without `application/`; `""` stands for a token without `typ`, which must be named to pass."""
    binding: Binding = Binding.REQUIRED
    clock_skew: int = 30
    """Seconds."""
    profile: str = ""
    """The specification that its other settings were made to follow, for display."""
    claim_names: ClaimNames = CLAIM_NAMES
    audience_missing: bool = False
    """DANGEROUS: a token without an audience is meant for every protected resource, this one too."""
    introspect: IntrospectWhen = IntrospectWhen.NEVER
    same_subject: bool = True
    """With `ALWAYS`: `sub` of the token and of the answer must not differ; False for pairwise identifiers."""
    opaque_token_bytes: int = 4096
    """Largest opaque token that the issuer is asked about: what nobody verified goes no further in any size."""
    report_only: ReportOnly | None = None
    confirmable: Confirmable = CONFIRMABLE
    """The schemes with which its tokens may come, and what their `cnf` may hold."""
    proof: ProofPolicy = PROOF_POLICY
    """Requirements for DPoP proofs, if the scheme is accepted."""


@dataclass(frozen=True, slots=True)
class RuleLimits:
    """What bounds the exchanges of one rule, in place of what bounds those of the service; None: the service's."""

    body_bytes: int | None = None
    """Length of a request body; 0: none."""
    response_timeout: float | None = None
    """Seconds from the end of the request to the response head."""
    stream_timeout: float | None = None
    """Seconds without a byte in either direction in a body or a tunnel; 0: none."""
    total_timeout: float | None = None
    """Seconds for a whole exchange; 0: none."""
    concurrent_requests: int | None = None
    """Requests under way at a time; None: only what bounds the service."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the policy."""

    name: str
    match: RequestMatch
    public: bool = False
    """Forwarded without credentials."""
    cors_preflight: bool = False
    """A CORS preflight passes without credentials."""
    issuers: frozenset[str] | None = None
    """Issuers this rule accepts; None: every issuer of the policy."""
    audience: frozenset[str] | None = None
    """Asked for on top of the issuer's audience; None: the issuer's alone."""
    binding: Binding | None = None
    """None: the issuer's."""
    scopes: tuple[str, ...] = ()
    """All of these (RFC 6749 §3.3)."""
    any_scope: tuple[str, ...] = ()
    """At least one of these, when not empty."""
    conditions: tuple[Condition, ...] = ()
    report_only: ReportOnly | None = None
    limits: RuleLimits | None = None
    """None: the service's, all of them."""
    identity_headers: Mapping[str, str] | None = None
    """Header → claim; None: the upstream's."""
    upgrade: frozenset[str] = frozenset({"websocket"})
    """Protocols that a request may switch to (RFC 9110 §7.8), in lower case."""
    allow_ambiguous_paths: frozenset[str] = frozenset()
    """Kinds of ambiguity this rule lets through (`path.ALLOWABLE`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A whole policy; immutable, replaced as one."""

    issuers: Mapping[str, IssuerPolicy]
    rules: tuple[Rule, ...]
    report_only: ReportOnly | None = None
    origins: tuple[Origin, ...] = ()
    """The origins under which clients reach the protected resource: `htu` of a DPoP proof is compared with them."""
    generation: int = 1
    matcher: Matcher = field(init=False, repr=False)
    """Over `rules`, by index."""

    def __post_init__(self) -> None:
        matcher = Matcher(
            [rule.match for rule in self.rules], [rule.allow_ambiguous_paths for rule in self.rules]
        )
        object.__setattr__(self, "matcher", matcher)

    @property
    def schemes(self) -> Mapping[str, str]:
        """Every scheme that some issuer's tokens may come with, in lower case → as it is registered."""
        accepted = {scheme for issuer in self.issuers.values() for scheme in issuer.confirmable.schemes}
        return {
            lower: scheme
            for lower, scheme in SCHEMES.items()
            if scheme in accepted
            or (ALIASES.get(scheme) in accepted)
            or (not accepted and scheme == "Bearer")
        }

    def needed_issuers(self) -> frozenset[str]:
        """The issuers whose tokens some rule accepts: without their keys it could only answer 503."""
        every = frozenset(self.issuers)
        asking = [rule for rule in self.rules if not rule.public]
        return frozenset().union(*(every if rule.issuers is None else rule.issuers for rule in asking))
