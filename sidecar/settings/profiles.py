"""Profiles: one setting of an issuer for all that a specification requires of a resource server."""

from collections.abc import Iterator, Sequence
from typing import Final

from sidecar.decision.policy import Binding, IntrospectWhen, IssuerPolicy

FAPI2: Final = "fapi2"
"""FAPI 2.0 Security Profile, §5.3.4 (resource servers) and §5.4 (cryptography)."""
FAPI2_ALGORITHMS: Final = frozenset({"PS256", "ES256", "EdDSA", "Ed25519"})
FAPI2_SKEW: Final = (10, 60)
"""Seconds: times up to 10 in the future shall be accepted, those of more than 60 rejected."""


def weakened(
    algorithms: Sequence[str] | None, binding: str | None, clock_skew: float | None
) -> tuple[str, str] | None:
    """The setting that contradicts `profile: fapi2`, and why; None when there is none."""
    outside = sorted(set(algorithms or ()) - FAPI2_ALGORITHMS)
    if outside:
        return "algorithms", f"`profile: fapi2` allows only PS256, ES256 and EdDSA, not {', '.join(outside)}"
    if binding not in {None, Binding.REQUIRED.value}:
        return "binding", f"`profile: fapi2` needs bound tokens, `{binding}` accepts others"
    low, high = FAPI2_SKEW
    if clock_skew is not None and not low <= clock_skew <= high:
        return "clock_skew", f"`profile: fapi2` needs {low}s to {high}s"
    return None


def explained(issuer: IssuerPolicy) -> Iterator[str]:
    """The effects of an issuer's profile, one line each, with its clause; empty without a profile."""
    if issuer.profile != FAPI2:
        return
    yield f"algorithms {' '.join(sorted(issuer.algorithms))}: FAPI 2.0 Security Profile §5.4.1"
    yield "binding required: each token is bound to its sender, no rule may take others: §5.3.4"
    low, high = FAPI2_SKEW
    yield f"clock_skew {issuer.clock_skew}s: times {low}s ahead pass, those past {high}s never do: as §5.3.2.1 has it"
    yield "tokens come only in the Authorization header, never in the query: §5.3.4 (no setting changes that)"
    revocation = {
        IntrospectWhen.ALWAYS: "asked for with every token (introspection)",
        IntrospectWhen.OPAQUE: "asked for with opaque tokens (introspection); a JWT is valid until it expires",
        IntrospectWhen.NEVER: "not asked for: a JWT is valid until it expires, so use short lifetimes",
    }
    yield f"revocation status is {revocation[issuer.introspect]}: §5.3.4"
