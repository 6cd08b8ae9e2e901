"""How a presenter confirms that a token is theirs: one module for each member of `cnf` (RFC 7800 §3).

The token decides: each member that it has must confirm, whatever the rule asks for, and a `cnf` with a member that
is not in `METHODS` is refused. RFC 7800 §3.1 leaves unknown members to the application; ignoring one would turn a
token bound to something into a token bound to less.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Final

from sidecar.decision.confirmable import CONFIRMABLE, Confirmable
from sidecar.decision.confirmation.certificate import CertificateThumbprint
from sidecar.decision.confirmation.method import ConfirmationMethod, Confirmed
from sidecar.decision.confirmation.proof_key import ProofKeyThumbprint
from sidecar.decision.failure import Denied, Failure
from sidecar.decision.presentation import Presentation
from sidecar.decision.reason import Reason
from sidecar.decision.request import Presenter
from sidecar.decision.strict import Malformed
from sidecar.decision.token import UNBOUND, Confirmation

__all__ = [
    "ALIASES",
    "BROKEN",
    "METHODS",
    "OF_PROOFS",
    "SCHEMES",
    "UNBOUND",
    "Confirmed",
    "Held",
    "check_scheme",
    "confirm",
    "held",
    "held_in",
    "joined",
    "parse",
]

METHODS: Final[dict[str, ConfirmationMethod]] = {
    method.member: method
    for method in (
        CertificateThumbprint(),  # RFC 8705 §3.1
        ProofKeyThumbprint(),  # RFC 9449 §6.1
    )
}
"""The IANA registry "JWT Confirmation Methods", as far as it is verified here."""


SCHEMES: Final[Mapping[str, str]] = {
    "bearer": "Bearer",  # RFC 6750 §2.1
    "dpop": "DPoP",  # RFC 9449 §7.1
    "mtls_pop": "MTLS_POP",  # what one vendor's clients call Bearer for a token that is bound to a certificate
}
"""Authentication schemes in lower case → as they are registered or used."""
ALIASES: Final[Mapping[str, str]] = {"MTLS_POP": "Bearer"}
"""Scheme → the one of which it is another name, for tokens that a method of that scheme confirmed."""
BROKEN: Final = frozenset(reason for method in METHODS.values() for reason in method.broken)
"""Reasons that are never only reported."""


KEY: Final = "jkt"
"""The member of a token that is bound to the key of a proof (RFC 9449 §6.1)."""
OF_PROOFS: Final = METHODS[KEY].reasons.keys() - {Reason.SCHEME_MISMATCH}
"""Reasons that are said in the challenge of the scheme DPoP, whatever the scheme that came."""


def check_scheme(scheme: str, accepted: Collection[str], confirmed: tuple[Confirmed, ...]) -> None:
    """A token comes with a scheme that its issuer's tokens may come with and that is of a method that confirmed it;
    only `Bearer` itself takes an unbound one.

    Raises `Denied` (scheme_mismatch).
    """
    asked = ALIASES.get(scheme, scheme)
    if asked not in accepted:
        raise Denied(Reason.SCHEME_MISMATCH, "cnf", " or ".join(accepted), scheme)
    if scheme != "Bearer" and not any(METHODS[one.member].scheme == asked for one in confirmed):
        raise Denied(Reason.SCHEME_MISMATCH, "cnf", f"a token for the scheme {scheme}", "another token")


def parse(value: object, accepted: Confirmable = CONFIRMABLE) -> Confirmation:
    """The confirmation that a `cnf` claim asks for. A claim that nobody can ever confirm still parses: its
    `refusal` says why, and `confirm` raises it, so that the record can name the token's owner.

    `accepted` is what the token's issuer may ask for.
    """
    if type(value) is not dict or not value:
        shape = "an empty object" if value == {} else type(value).__name__
        return _refused(Reason.CONFIRMATION_MALFORMED, "cnf", "an object with a member", shape)
    members: dict[str, bytes] = {}
    for name, member in value.items():
        if name in accepted.informative:
            continue
        if name not in METHODS or not METHODS[name].is_accepted(accepted.schemes):
            expected = " ".join(one for one in METHODS if METHODS[one].is_accepted(accepted.schemes))
            return _refused(Reason.CONFIRMATION_UNSUPPORTED, "cnf", expected, ascii(name[:32]))
        try:
            members[name] = METHODS[name].parse(member)
        except Malformed as problem:
            return _refused(
                Reason.CONFIRMATION_MALFORMED, f"cnf.{name}", METHODS[name].expected, str(problem)
            )
    if not members:
        # A `cnf` that says something of a key and binds to none: it was bound to something that is not here.
        return _refused(
            Reason.CONFIRMATION_MALFORMED, "cnf", "a member that binds", "only informative members"
        )
    return Confirmation(members)


def confirm(confirmation: Confirmation, presentation: Presentation) -> tuple[Confirmed, ...]:
    """The evidence for each member that the token has; none for an unbound token.

    Raises `Denied`: confirmation_malformed, confirmation_unsupported, and the reasons of the methods.
    """
    if confirmation.refusal is not None:
        raise Denied.of(confirmation.refusal)
    confirmed: tuple[Confirmed, ...] = ()
    for name, member in confirmation.members.items():
        evidence = METHODS[name].confirm(member, presentation)
        confirmed = (*confirmed, evidence) if confirmed else (evidence,)
    return confirmed


class Held(Enum):
    """Whether a request was bound to its presenter, as far as its record tells."""

    UNBOUND = "unbound"
    BOUND = "bound"
    MISMATCHED = "mismatched"


# Each under a name of its own: a member is looked up through the metaclass of its enumeration, which costs more.
_UNBOUND: Final = Held.UNBOUND
_BOUND: Final = Held.BOUND
_MISMATCHED: Final = Held.MISMATCHED


def held(confirmation: Confirmation, presenter: Presenter, failures: Sequence[Failure]) -> Held:
    """Told by a verified token, its presenter, and what failed."""
    found = _UNBOUND
    members = confirmation.members
    for name in members:
        if not METHODS[name].holds(members[name], presenter, failures):
            return _MISMATCHED
        found = _BOUND
    return found


def held_in(line: Mapping[str, object], failed: Collection[str]) -> Held:
    """Told by an access line of a request with a verified token, and the names of the reasons for which it failed."""
    found = _UNBOUND
    for method in METHODS.values():
        holds = method.held(line, failed)
        if holds is False:
            return _MISMATCHED
        if holds:
            found = _BOUND
    return found


def joined(signed: Confirmation, introspected: Confirmation) -> Confirmation:
    """What a token and its issuer's answer about it (RFC 8705 §3.2) ask for together; they must not differ."""
    if not introspected.is_bound:
        return signed
    if not signed.is_bound or introspected.refusal is not None:
        return introspected
    if signed.refusal is not None or signed.members == introspected.members:
        return signed
    return _refused(Reason.CONFIRMATION_MALFORMED, "cnf", "one confirmation", "another one by introspection")


def _refused(reason: Reason, check: str, expected: str, presented: str) -> Confirmation:
    return Confirmation({}, Failure(check, reason, expected, presented))
