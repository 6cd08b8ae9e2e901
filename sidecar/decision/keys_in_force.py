"""Which keys are in force, without a question: every request with a known token has to know.

Theory of operation. Whoever fetches the keys of an issuer writes here what the issuer published last, and when. The
authorizer reads it: two look-ups and the clock. What is not in force here is no refusal yet: then the
`KeySource` is asked, which says why.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Final

_NEVER: Final = float("-inf")


class KeysInForce:
    """The keys of one issuer: those that it published last, unless that is too long ago."""

    __slots__ = ("budget", "confirmed_at", "keys", "now")

    def __init__(self, now: Callable[[], float], budget: float) -> None:
        """As the attributes."""
        self.now = now
        """Seconds of a monotonic clock."""
        self.budget = float(budget)
        """For how many seconds keys count after they were last confirmed."""
        self.keys: frozenset[Hashable] = frozenset()
        """Those that the issuer published last."""
        self.confirmed_at = _NEVER
        """Seconds of the same clock: when the issuer last confirmed them."""

    def confirm(self, keys: frozenset[Hashable], at: float) -> None:
        """The issuer published `keys` at `at`; no others are in force from now on."""
        self.keys = keys
        self.confirmed_at = at

    @property
    def is_fresh(self) -> bool:
        """Whether the last confirmation still counts."""
        return self.now() - self.confirmed_at <= self.budget


class KeyRegister:
    """The keys in force, by issuer."""

    __slots__ = ("_issuers",)

    def __init__(self) -> None:
        self._issuers: dict[str, KeysInForce] = {}

    def adopt(self, issuers: Mapping[str, KeysInForce]) -> None:
        """These are the issuers from now on."""
        self._issuers = dict(issuers)

    def holds(self, issuer: str, key: Hashable) -> bool:
        """Whether `key` is in force, as a key of `issuer`."""
        # Written out, because each request comes by: `is_fresh` is a call more.
        one = self._issuers.get(issuer)
        return one is not None and key in one.keys and one.now() - one.confirmed_at <= one.budget
