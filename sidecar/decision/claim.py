"""Conditions on claims: where in the claims set to look, and what must be found there.

A path leads through objects by name and through arrays to each of their elements: what it finds through an array is
an array. Values are compared as JSON has them: `true` is not 1, `"1"` is not 1.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

from sidecar.decision.condition import Condition, Facts
from sidecar.decision.failure import Failure
from sidecar.decision.reason import Reason
from sidecar.decision.token import Claims

Scalar = str | int | float | bool | None
Captures = Mapping[str, str]

_CAPTURE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Captured:
    """A text with values that the rule's path template captured: `{id}`."""

    text: str

    @property
    def names(self) -> frozenset[str]:
        """The captures that it takes; the rule's template must have them all."""
        return frozenset(_CAPTURE.findall(self.text))

    def fill(self, captures: Captures) -> str:
        """The text for one request."""
        return _CAPTURE.sub(lambda found: captures[found[1]], self.text)

    def __str__(self) -> str:
        return self.text


Expected = Scalar | Captured


def claim_path(text: str) -> tuple[str, ...]:
    """`realm_access.roles` is a path of two names; a name with `://` in it is one name, whatever its dots."""
    return (text,) if "://" in text else tuple(text.split("."))


def value_at(value: object, path: tuple[str, ...]) -> object:
    """What `path` leads to, or a value that equals nothing."""
    for at, name in enumerate(path):
        if type(value) is list:
            return _through(value, path[at:])
        if type(value) is not dict or name not in value:
            return _MISSING
        value = value[name]
    return value


def _through(elements: list[object], path: tuple[str, ...]) -> object:
    found: list[object] = []
    for element in elements:
        value = value_at(element, path)
        if type(value) is list:
            found += value
        elif value is not _MISSING:
            found.append(value)
    return found or _MISSING


class Predicate(ABC):
    """What a claim must be. Its `str` is what the record says was expected."""

    __slots__ = ()

    @property
    def captures(self) -> frozenset[str]:
        """The captures of the path that it takes values from."""
        return frozenset()

    @abstractmethod
    def accepts(self, value: object, captures: Captures) -> bool:
        """Whether `value` is as expected."""


@dataclass(frozen=True, slots=True)
class Equals(Predicate):
    """The claim is this value."""

    value: Expected

    @property
    def captures(self) -> frozenset[str]:
        """Those of its text."""
        return _captures((self.value,))

    def accepts(self, value: object, captures: Captures) -> bool:
        """Whether it is."""
        return _same(value, self.value, captures)

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class OneOf(Predicate):
    """The claim is one of these values."""

    values: tuple[Expected, ...]

    @property
    def captures(self) -> frozenset[str]:
        """Those of its text."""
        return _captures(self.values)

    def accepts(self, value: object, captures: Captures) -> bool:
        """Whether it is one of them."""
        return any(_same(value, one, captures) for one in self.values)

    def __str__(self) -> str:
        return f"one of {_listed(self.values)}"


@dataclass(frozen=True, slots=True)
class Contains(Predicate):
    """The claim is an array that has all of these values."""

    values: tuple[Expected, ...]

    @property
    def captures(self) -> frozenset[str]:
        """Those of its text."""
        return _captures(self.values)

    def accepts(self, value: object, captures: Captures) -> bool:
        """Whether each is among the elements; text has no elements."""
        return type(value) is list and all(
            any(_same(element, one, captures) for element in value) for one in self.values
        )

    def __str__(self) -> str:
        return f"an array with {_listed(self.values)}"


@dataclass(frozen=True, slots=True)
class Prefix(Predicate):
    """The claim is text that begins so."""

    prefix: str | Captured

    @property
    def captures(self) -> frozenset[str]:
        """Those of its text."""
        return _captures((self.prefix,))

    def accepts(self, value: object, captures: Captures) -> bool:
        """Whether it does."""
        prefix = self.prefix.fill(captures) if isinstance(self.prefix, Captured) else self.prefix
        return type(value) is str and value.startswith(prefix)

    def __str__(self) -> str:
        return f"text that begins with {self.prefix}"


Operator = Literal["at_least", "at_most", "more_than", "less_than"]


@dataclass(frozen=True, slots=True)
class Comparison(Predicate):
    """The claim is a number on the right side of `bound`."""

    operator: Operator
    bound: int | float

    def accepts(self, value: object, captures: Captures) -> bool:
        """Whether the value is a number within the bound; text and booleans never are."""
        if type(value) is not int and type(value) is not float:
            return False
        match self.operator:
            case "at_least":
                return value >= self.bound
            case "at_most":
                return value <= self.bound
            case "more_than":
                return value > self.bound
            case "less_than":
                return value < self.bound
            case _:
                assert_never(self.operator)

    def __str__(self) -> str:
        return f"{self.operator.replace('_', ' ')} {self.bound}"


@dataclass(frozen=True, slots=True)
class Exists(Predicate):
    """The claim is there, with whatever value; or is not there."""

    wanted: bool = True

    def accepts(self, value: object, captures: Captures) -> bool:
        """Whether it is as wanted."""
        return (value is not _MISSING) is self.wanted

    def __str__(self) -> str:
        return "present" if self.wanted else "absent"


@dataclass(frozen=True, slots=True)
class ClaimCondition(Condition):
    """Requires that a claim meets a predicate."""

    path: tuple[str, ...]
    predicate: Predicate
    may_log: bool = False
    """Whether a record may hold the claim's value."""

    subject = "claims"
    clause = "the policy"

    @property
    def captures(self) -> frozenset[str]:
        """Those of its predicate."""
        return self.predicate.captures

    @property
    def place(self) -> tuple[str, ...]:
        """The claim, among the others."""
        return self.subject, ".".join(self.path)

    @property
    def check(self) -> str:
        """`claims.` and the path."""
        return f"claims.{'.'.join(self.path)}"

    def failure(self, facts: Facts) -> Failure | None:
        """The claim and, where it may be logged, its value."""
        value = value_at(facts.token.claims, self.path)
        if self.predicate.accepts(value, facts.captures):
            return None
        may_show = (self.may_log or facts.reveals) and value is not _MISSING
        presented = ascii(value)[:200] if may_show else _kind(value)
        return Failure(self.check, Reason.CONDITION_FAILED, str(self), presented)

    def __str__(self) -> str:
        return str(self.predicate)


@dataclass(frozen=True, slots=True)
class AuthorizationDetail(Condition):
    """The token has an authorization detail of a type with certain fields (RFC 9396 §2, §9.1)."""

    type: str
    fields: tuple[tuple[tuple[str, ...], Predicate], ...] = ()
    """Path within the detail, and what must be there; all of them in one and the same detail."""

    subject = "authorization_details"
    clause = "RFC 9396 §9"

    @property
    def check(self) -> str:
        """The same for every instance."""
        return self.subject

    @property
    def captures(self) -> frozenset[str]:
        """Those of all its fields."""
        return frozenset().union(*(predicate.captures for _, predicate in self.fields))

    def failure(self, facts: Facts) -> Failure | None:
        """Whether one detail has the type and every field."""
        details = facts.token.claims.get("authorization_details")
        if type(details) is list and any(self._describes(one, facts.captures) for one in details):
            return None
        return Failure(self.check, Reason.CONDITION_FAILED, str(self), "no such detail")

    def __str__(self) -> str:
        fields = "".join(f", {'.'.join(path)} {predicate}" for path, predicate in self.fields)
        return f"type {self.type}{fields}"

    def _describes(self, detail: object, captures: Captures) -> bool:
        return value_at(detail, ("type",)) == self.type and all(
            predicate.accepts(value_at(detail, path), captures) for path, predicate in self.fields
        )


def text_at(claims: Claims, path: tuple[str, ...]) -> str | None:
    """The text that `path` leads to, if it is text."""
    value = value_at(claims, path)
    return value if type(value) is str else None


def _captures(values: tuple[Expected, ...]) -> frozenset[str]:
    return frozenset().union(*(one.names for one in values if isinstance(one, Captured)))


def _same(value: object, expected: Expected, captures: Captures) -> bool:
    wanted = expected.fill(captures) if isinstance(expected, Captured) else expected
    # In Python, but not in JSON, True equals 1.
    return (type(value) is bool) is (type(wanted) is bool) and value == wanted


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "other text", bool: "another boolean"}
    return "nothing" if value is _MISSING else names.get(type(value), "another value")


def _listed(values: tuple[Expected, ...]) -> str:
    return ", ".join(map(str, values))
