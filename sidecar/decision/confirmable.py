"""What the `cnf` of one issuer's tokens may hold. Not compiled: it is pickled on its way from the process that reads
the configuration, and a compiled class has no state that pickle could see.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Confirmable:
    """What the `cnf` of one issuer's tokens may hold."""

    schemes: tuple[str, ...] = ("Bearer",)
    """The authentication schemes that are accepted: a member of another scheme confirms nothing here."""
    informative: frozenset[str] = frozenset()
    """Members that bind nothing, by name; none that IANA registers."""


CONFIRMABLE: Final = Confirmable()
"""Unless the configuration says something else: bearer tokens, bound to a certificate or to nothing."""
