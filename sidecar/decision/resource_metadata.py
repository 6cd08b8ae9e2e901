"""Protected resource metadata (RFC 9728): the policy, said so that a client can find out where to get a token."""

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from sidecar.decision.confirmation import ALIASES, METHODS
from sidecar.decision.policy import Policy

WELL_KNOWN = "/.well-known/oauth-protected-resource"


@dataclass(frozen=True, slots=True)
class ResourceMetadata:
    """The document and where it is served."""

    url: str
    """What challenges name as `resource_metadata` (RFC 9728 §5.1)."""
    path: str
    """The path of `url`: where the sidecar serves the document."""
    document: bytes
    """JSON."""


def resource_metadata(resource: str, policy: Policy) -> ResourceMetadata:
    """The metadata of `resource`, the identifier of this protected resource.

    Raises `ValueError` for an identifier that is no https URL, or has a fragment (RFC 9728 §1.2).
    """
    parts = urlsplit(resource)
    if parts.scheme != "https" or not parts.netloc or parts.fragment or "#" in resource:
        raise ValueError("a resource identifier is an https URL without fragment (RFC 9728 §1.2)")
    # RFC 9728 §3.1: the well-known string goes between the host and the path, and "any terminating slash (/)
    # following the host component MUST be removed before inserting".
    path = WELL_KNOWN + ("" if parts.path == "/" else parts.path)
    query = f"?{parts.query}" if parts.query else ""
    document = json.dumps(_members(resource, policy), indent=2).encode()
    return ResourceMetadata(f"https://{parts.netloc}{path}{query}", path, document)


def _members(resource: str, policy: Policy) -> dict[str, object]:
    """RFC 9728 §2. A member without a value is left out, as §3.2 wants it."""
    members: dict[str, object] = {
        "resource": resource,
        "authorization_servers": sorted(policy.issuers),
        "scopes_supported": _scopes(policy),
        # RFC 6750 §2.1 is the only way in which a token is taken here.
        "bearer_methods_supported": ["header"],
    }
    schemes = set(policy.schemes.values()) - ALIASES.keys()
    proofs = [one.proof for one in policy.issuers.values() if "DPoP" in one.confirmable.schemes]
    algorithms = frozenset[str]().union(*(proof.algorithms for proof in proofs))
    for method in METHODS.values():
        members |= method.metadata(schemes, algorithms)
    return {name: value for name, value in members.items() if value != []}


def _scopes(policy: Policy) -> list[str]:
    """Every scope that some rule asks for."""
    return sorted({scope for rule in policy.rules for scope in (*rule.scopes, *rule.any_scope)})
