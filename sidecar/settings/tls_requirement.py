"""What a rule may require of the client's TLS, in the words of a listener's `tls`; and what cannot hold."""

from collections.abc import Iterable, Iterator
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
    """What the client's TLS must be; all of it. What the sidecar does not know of it never holds."""

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
            raise mistake("says nothing of TLS: `minimum_version`, `groups`")
        return self

    def conditions(self) -> Iterator[Condition]:
        """One condition a member."""
        if self.minimum_version is not None:
            yield TlsVersion(self.minimum_version)
        if self.groups is not None:
            yield TlsGroup(tuple(self.groups))


def unattainable(rules: Iterable[PlacedRule], listeners: Iterable[ListenerSettings]) -> Iterator[Problem]:
    """Warnings about rules that ask for groups where a listener has none of them."""
    for placed in rules:
        asked = [one for one in placed.rule.conditions if isinstance(one, TlsGroup)]
        for condition in asked:
            for listener in listeners:
                taken = not placed.rule.match.listeners or listener.name in placed.rule.match.listeners
                offered = listener.tls.groups
                if taken and offered and not set(offered) & set(condition.groups):
                    message = (
                        f"listener {shown(listener.name)} has none of these groups: it refuses every request"
                    )
                    yield placed.warning(message, "require", "tls", "groups")
