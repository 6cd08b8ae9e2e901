"""Counts the requests in progress under each rule that limits them.

Theory of operation. A request takes a place when it is permitted and would be forwarded. It leaves the place when the
upstream is done with it: the response is complete, it was cut, or the client has disconnected. No request waits for a
place: a queue before a slow endpoint only adds to the delay. Places are counted by the name of the rule and survive a
reload, because requests in progress do too. Requests of rules without such a limit are not counted.
"""


class UnderWay:
    """All exchanges in progress of one server, under any rule. All of its connections share this object."""

    __slots__ = ("count", "streams")

    def __init__(self) -> None:
        self.count = 0
        self.streams = 0
        """The number of them that are HTTP/2 streams."""


class Full(Exception):
    """All places of a rule are taken."""


class Place:
    """Evidence that a request counts among the concurrent requests of its rule."""

    __slots__ = ("_occupancy", "_rule")

    def __init__(self, occupancy: "Occupancy", rule: str) -> None:
        self._occupancy = occupancy
        self._rule = rule

    def leave(self) -> None:
        """Give the place back. To be called once only, because another exchange may hold it afterwards."""
        self._occupancy.vacate(self._rule)


class Occupancy:
    """The places of all rules."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def enter(self, rule: str, most: int) -> Place:
        """Take a place under the rule of that name, which has `most` places. Raises `Full`."""
        taken = self._taken.get(rule, 0)
        if taken >= most:
            raise Full
        self._taken[rule] = taken + 1
        return Place(self, rule)

    def vacate(self, rule: str) -> None:
        """Count one place less as taken."""
        left = self._taken[rule] - 1
        if left:
            self._taken[rule] = left
        else:
            # A rule that a reload removed must not leave an entry.
            del self._taken[rule]

    def taken(self) -> dict[str, int]:
        """Number of requests in progress, by the name of the rule."""
        return dict(self._taken)
