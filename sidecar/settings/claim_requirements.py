"""What a rule may require of claims and authorization details. Words, not a language."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

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
from sidecar.settings.problem import shown
from sidecar.settings.scalars import Text
from sidecar.settings.section import Section, mistake


def _captured(text: str) -> str | Captured:
    """Text, or text with `{captures}` in it."""
    found = Captured(text)
    return found if found.names else text


def _expected(value: Any) -> Any:
    """A value as a predicate takes it."""
    return _captured(value) if isinstance(value, str) else value


OPERATORS: Final[Mapping[str, Callable[[Any], Predicate]]] = {
    "equals": lambda value: Equals(_expected(value)),
    "one_of": lambda values: OneOf(tuple(map(_expected, values))),
    "contains": lambda value: Contains((_expected(value),)),
    "all": lambda values: Contains(tuple(map(_expected, values))),
    "prefix": lambda value: Prefix(_captured(value)),
    "at_least": lambda value: Comparison("at_least", value),
    "at_most": lambda value: Comparison("at_most", value),
    "more_than": lambda value: Comparison("more_than", value),
    "less_than": lambda value: Comparison("less_than", value),
    "exists": Exists,
}
"""Operator of a claim → predicate."""


def _scalar(value: Any) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"expected text, a number, true or false, got {shown(value)}")


def _number(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError(f"expected a number, got {shown(value)}")


_SCALAR_SCHEMA: dict[str, Any] = {"anyOf": [{"type": one} for one in ("string", "number", "boolean")]}
Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema(_SCALAR_SCHEMA)]
Number = Annotated[Any, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
Scalars = Annotated[list[Scalar], Field(min_length=1)]


class ClaimOperators(Section):
    """What a claim must be; with several operators, all of them. `{name}` stands for what the path captured."""

    equals: Scalar = None
    """This value."""
    one_of: Scalars | None = None
    """One of these values."""
    contains: Scalar = None
    """An array with this value."""
    all: Scalars | None = None
    """An array with all of these values."""
    prefix: Text | None = None
    """Text that begins so."""
    at_least: Number = None
    """A number, this or more."""
    at_most: Number = None
    """A number, this or less."""
    more_than: Number = None
    """A number, more than this."""
    less_than: Number = None
    """A number, less than this."""
    exists: bool | None = None
    """true: there, whatever its value; false: not there."""
    may_log: bool = False
    """true: when the condition fails, the log may hold the claim's value."""

    @model_validator(mode="after")
    def _operators(self) -> Self:
        given = self.model_fields_set - {"may_log"}
        if not given:
            raise mistake(f"has no operator: use one of {', '.join(OPERATORS)}")
        if self.exists is False and len(given) > 1:
            raise mistake("`exists: false` stands alone", "exists")
        return self

    def predicates(self) -> Iterator[Predicate]:
        """One predicate an operator, in the order of the table."""
        given = self.given()
        for name, predicate in OPERATORS.items():
            if name in given:
                yield predicate(given[name])

    def conditions(self, claim: str) -> Iterator[ClaimCondition]:
        """One condition an operator."""
        for predicate in self.predicates():
            yield ClaimCondition(claim_path(claim), predicate, self.may_log)


def _spelled_out(value: Any) -> Any:
    """A value alone is `equals`, a list alone is `one_of`."""
    if isinstance(value, list):
        return {"one_of": value}
    return value if isinstance(value, dict) else {"equals": value}


def _claim_name(name: str) -> str:
    if not all(claim_path(name)):
        raise ValueError(f"{shown(name)} is not a claim: names with dots between them")
    return name


ClaimName = Annotated[Text, AfterValidator(_claim_name)]
"""`realm_access.roles` is `roles` inside `realm_access`; a name with `://` in it is one name."""
ClaimExpectation = Annotated[
    ClaimOperators,
    BeforeValidator(_spelled_out, json_schema_input_type=Scalar | Scalars | ClaimOperators),
]
Claims = Annotated[dict[ClaimName, ClaimExpectation], Field(min_length=1)]


class AuthorizationDetailSection(Section):
    """One authorization detail that the token must have (RFC 9396)."""

    type: Text
    """The detail's `type`."""
    fields: dict[ClaimName, ClaimExpectation] = Field(default_factory=dict)
    """Members of the detail and what they must be, all of them in one and the same detail."""

    def condition(self) -> AuthorizationDetail:
        """All of it is one condition."""
        fields = ((claim_path(name), one) for name, said in self.fields.items() for one in said.predicates())
        return AuthorizationDetail(self.type, tuple(fields))
