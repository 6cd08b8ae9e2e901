"""What a rule may require of the client's TLS, with the keys of a listener's `tls`, and what cannot hold."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from sidecar.decision.condition import Condition
from sidecar.decision.key_exchange import Group
from sidecar.decision.tls_condition import TlsGroup, TlsVersion
from sidecar.proxy.configuration import ListenerSettings
from sidecar.settings.problem import Problem, shown
from sidecar.settings.review import PlacedRule
from sidecar.settings.scalars import as_list
from sidecar.settings.section import Section, mistake


class TlsRequirement(Section):
    """Conditions on the client's TLS; all must hold. A condition on a value that the sidecar does not know does not
    hold.
    """

    minimum_version: Literal["1.2", "1.3"] | None = None
    """The negotiated version is this one or a later one."""
    groups: (
        Annotated[
            list[Group],
            Field(min_length=1),
            BeforeValidator(as_list, json_schema_input_type=Group | list[Group]),
        ]
        | None
    ) = None
    """The key exchange used one of these groups (RFC 8446 §4.2.7)."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise mistake("has no condition on TLS: use `minimum_version`, `groups`")
        return self

    def conditions(self) -> Iterator[Condition]:
        """One condition for each member."""
        if self.minimum_version is not None:
            yield TlsVersion(self.minimum_version)
        if self.groups is not None:
            yield TlsGroup(tuple(self.groups))


def unattainable(rules: Iterable[PlacedRule], listeners: Sequence[ListenerSettings]) -> Iterator[Problem]:
    """Warnings about conditions that never hold on a listener."""
    for placed in rules:
        named = placed.rule.match.listeners
        for condition in placed.rule.conditions:
            if isinstance(condition, TlsVersion | TlsGroup):
                for listener in listeners:
                    message = _hindrance(condition, listener)
                    if message and (not named or listener.name in named):
                        at = ("groups",) if isinstance(condition, TlsGroup) else ("minimum_version",)
                        yield placed.warning(message, "require", "tls", *at)


def _hindrance(condition: TlsVersion | TlsGroup, listener: ListenerSettings) -> str:
    name = shown(listener.name)
    if listener.told is not None:
        return f"listener {name} does not know the clients' TLS: it refuses every request"
    offered = listener.tls.groups if listener.tls is not None else ()
    if isinstance(condition, TlsGroup) and offered and not set(offered) & set(condition.groups):
        return f"listener {name} has none of these groups: it refuses every request"
    return ""
