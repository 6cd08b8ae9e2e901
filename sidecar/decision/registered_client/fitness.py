"""Whether a certificate may be a client's at all: no authority's, for clients where it says for what, and current."""

from functools import lru_cache
from typing import Final

from sidecar.decision.certificate import NEVER_VALID, Certificate, Unreadable, extensions
from sidecar.decision.der import BOOLEAN, OBJECT_IDENTIFIER, SEQUENCE, elements, object_identifier, only
from sidecar.decision.failure import Denied
from sidecar.decision.reason import Reason
from sidecar.decision.strict import Malformed

CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
"""id-kp-clientAuth (RFC 5280 §4.2.1.12)."""
_ANY_PURPOSE: Final = "2.5.29.37.0"
"""anyExtendedKeyUsage."""
_BASIC_CONSTRAINTS: Final = "2.5.29.19"
_EXTENDED_KEY_USAGE: Final = "2.5.29.37"
_CHECK: Final = "client_authentication.certificate"
_LONGEST_KNOWN: Final = 4096
"""Bytes of a certificate of which this is remembered: whoever can connect may send others, and longer ones."""


def check_fitness(certificate: Certificate, now: float) -> None:
    """Raises `Denied` (client_certificate_unfit, client_certificate_expired). `now`: seconds since the epoch."""
    unfit = unfitness(certificate)
    if unfit is not None:
        expected = "a certificate for clients"
        raise Denied(Reason.CLIENT_CERTIFICATE_UNFIT, _CHECK, expected, unfit)
    if not certificate.not_before <= now <= certificate.not_after:
        said = "not valid yet" if now < certificate.not_before else "expired"
        raise Denied(Reason.CLIENT_CERTIFICATE_EXPIRED, _CHECK, "a current certificate", said)


def unfitness(certificate: Certificate) -> str | None:
    """Why a certificate can be no client's, whenever that is; None when it can."""
    der = certificate.der
    return _known_unfitness(der) if len(der) <= _LONGEST_KNOWN else _unfitness(der)


@lru_cache(maxsize=1024)
def _known_unfitness(der: bytes) -> str | None:
    """A fact of the certificate: a client that sends many requests is looked at once."""
    return _unfitness(der)


def _unfitness(der: bytes) -> str | None:
    fields = Certificate(der, NEVER_VALID).fields
    if isinstance(fields, Unreadable):
        return str(fields)
    try:
        found = {} if fields.extensions is None else extensions(fields.extensions)
        constraints, usages = found.get(_BASIC_CONSTRAINTS), found.get(_EXTENDED_KEY_USAGE)
        if constraints is not None and _is_authority(constraints):
            return "an authority's certificate (CA:TRUE): its key could make it any client"
        purposes = None if usages is None else _purposes(usages)
    except Malformed as problem:
        return f"unreadable extensions ({problem})"
    if purposes is not None and CLIENT_AUTH not in purposes and _ANY_PURPOSE not in purposes:
        return f"not for the purpose clientAuth ({CLIENT_AUTH}), but for {', '.join(sorted(purposes)[:8])}"
    return None


def _is_authority(value: memoryview) -> bool:
    """`cA` of basicConstraints (RFC 5280 §4.2.1.9); raises `Malformed`."""
    first = next(elements(only(value).expect(SEQUENCE, "basicConstraints")), None)
    return first is not None and first.tag == BOOLEAN and bytes(first.content) != b"\0"


def _purposes(value: memoryview) -> frozenset[str]:
    """RFC 5280 §4.2.1.12; raises `Malformed`."""
    inside = only(value).expect(SEQUENCE, "extendedKeyUsage")
    return frozenset(
        [object_identifier(one.expect(OBJECT_IDENTIFIER, "purpose")) for one in elements(inside)]
    )
