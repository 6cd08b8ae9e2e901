"""How many requests are under way under each rule that bounds them.

Theory of operation. A request takes a place when it is permitted and would be forwarded, and leaves it when the
upstream has no more to do with it: the answer is complete, it was cut, or the client has gone. Nobody waits for a
place: a queue before a slow endpoint only adds to the delay. Places are counted by the rule's name and outlive a
reload, for what is under way stays under way. Requests of rules without such a limit are not counted at all.
"""


class UnderWay:
    """Exchanges under way at one server, whatever their rules: one object, shared by all of its connections."""

    __slots__ = ("count", "streams")

    def __init__(self) -> None:
        self.count = 0
        self.streams = 0
        """Those of them that are streams of HTTP/2."""


class Full(Exception):
    """Every place of a rule is taken."""


class Place:
    """Evidence that a request is one of those that may be under way under its rule."""

    __slots__ = ("_occupancy", "_rule")

    def __init__(self, occupancy: "Occupancy", rule: str) -> None:
        self._occupancy = occupancy
        self._rule = rule

    def leave(self) -> None:
        """Give the place back. Once only, because it belongs to another exchange afterwards."""
        self._occupancy.vacate(self._rule)


class Occupancy:
    """The places of all rules."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def enter(self, rule: str, most: int) -> Place:
        """A place under the rule of that name, which has `most` of them; raises `Full`."""
        taken = self._taken.get(rule, 0)
        if taken >= most:
            raise Full
        self._taken[rule] = taken + 1
        return Place(self, rule)

    def vacate(self, rule: str) -> None:
        """One place less is taken."""
        left = self._taken[rule] - 1
        if left:
            self._taken[rule] = left
        else:
            # A rule that a reload took away leaves nothing behind.
            del self._taken[rule]

    def taken(self) -> dict[str, int]:
        """Requests under way, by the name of their rule."""
        return dict(self._taken)
