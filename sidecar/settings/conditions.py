"""What a rule requires, as the conditions of the core: one row a kind of condition."""

from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from sidecar.decision.certificate_condition import (
    CertificateLasts,
    CertificateName,
    CertificateNameIsClaim,
    CertificateThumbprintIs,
    NameField,
    NamePattern,
)
from sidecar.decision.claim import (
    AuthorizationDetail,
    Captured,
    ClaimCondition,
    Comparison,
    Contains,
    Equals,
    Exists,
    OneOf,
    Predicate,
    Prefix,
    claim_path,
)
from sidecar.decision.condition import AuthenticationContext, Condition
from sidecar.settings.condition_sections import (
    AuthorizationDetailSection,
    CertificateRequirement,
    ClaimOperators,
    NamePatterns,
)

OPERATORS: Final[Mapping[str, Callable[[Any], Predicate]]] = {
    "equals": lambda value: Equals(expected(value)),
    "one_of": lambda values: OneOf(tuple(map(expected, values))),
    "contains": lambda value: Contains((expected(value),)),
    "all": lambda values: Contains(tuple(map(expected, values))),
    "prefix": lambda value: Prefix(captured(value)),
    "at_least": lambda value: Comparison("at_least", value),
    "at_most": lambda value: Comparison("at_most", value),
    "more_than": lambda value: Comparison("more_than", value),
    "less_than": lambda value: Comparison("less_than", value),
    "exists": Exists,
}
"""Operator of a claim → predicate."""


class Requirement(Protocol):
    """The part of a rule's `require` that becomes conditions."""

    @property
    def claims(self) -> dict[str, ClaimOperators] | None:
        """Claim → what it must be."""

    @property
    def client_id(self) -> list[str] | None:
        """One of these."""

    @property
    def acr(self) -> list[str] | None:
        """One of these."""

    @property
    def max_authentication_age(self) -> float | None:
        """Seconds."""

    @property
    def authorization_details(self) -> list[AuthorizationDetailSection] | None:
        """All of these."""

    @property
    def client_certificate(self) -> CertificateRequirement | None:
        """What the certificate must be."""


def captured(text: str) -> str | Captured:
    """Text, or text with `{captures}` in it."""
    found = Captured(text)
    return found if found.names else text


def expected(value: Any) -> Any:
    """A value as a predicate takes it."""
    return captured(value) if isinstance(value, str) else value


def conditions(require: Requirement) -> tuple[Condition, ...]:
    """Everything that `require` asks for beyond scope, issuer and audience, in the order of the documentation."""
    return tuple(_conditions(require))


def _conditions(require: Requirement) -> Iterator[Condition]:
    if require.acr or require.max_authentication_age is not None:
        age = require.max_authentication_age
        yield AuthenticationContext(tuple(require.acr or ()), None if age is None else int(age))
    if require.client_id:
        yield ClaimCondition(("client_id",), OneOf(tuple(require.client_id)))
    for name, operators in (require.claims or {}).items():
        for predicate in predicates(operators):
            yield ClaimCondition(claim_path(name), predicate, operators.may_log)
    for detail in require.authorization_details or ():
        fields = ((claim_path(name), one) for name, said in detail.fields.items() for one in predicates(said))
        yield AuthorizationDetail(detail.type, tuple(fields))
    if require.client_certificate is not None:
        yield from _certificate(require.client_certificate)


def predicates(operators: ClaimOperators) -> Iterator[Predicate]:
    """One predicate an operator, in the order of the table."""
    given = operators.given()
    for name, predicate in OPERATORS.items():
        if name in given:
            yield predicate(given[name])


def _certificate(section: CertificateRequirement) -> Iterator[Condition]:
    for field in NameField:
        patterns: NamePatterns | None = getattr(section, field.value)
        if patterns is not None and patterns.claim is not None:
            yield CertificateNameIsClaim(field, claim_path(patterns.claim))
        elif patterns is not None:
            yield CertificateName(field, tuple(NamePattern(name, field) for name in patterns.names or ()))
    if section.thumbprint is not None:
        yield CertificateThumbprintIs(frozenset(urlsafe_b64decode(one + "=") for one in section.thumbprint))
    if section.not_after_margin is not None:
        yield CertificateLasts(int(section.not_after_margin))


def captures_in(condition: Condition) -> frozenset[str]:
    """The captures of the path that a condition takes values from."""
    match condition:
        case ClaimCondition(predicate=predicate):
            return _captures(predicate)
        case AuthorizationDetail(fields=fields):
            return frozenset().union(*(_captures(predicate) for _, predicate in fields))
        case _:
            return frozenset()


def _captures(predicate: Predicate) -> frozenset[str]:
    match predicate:
        case Equals(value=Captured() as text) | Prefix(prefix=Captured() as text):
            return text.names
        case OneOf(values=values) | Contains(values=values):
            return frozenset().union(*(one.names for one in values if isinstance(one, Captured)))
        case _:
            return frozenset()
