"""Which rule fits a request: hosts, methods, path templates, query keys, listener; compiled once.

Theory of operation. Templates are laid into a tree with one level a segment. A node leads on by a literal segment
or by a wildcard, and holds the candidates that end there and those that take all the rest (`**`). A request walks
the tree along all the edges that fit, a segment at a time, and keeps the candidate that stands first in the
policy; there are at most as many levels as the longest template has segments, however long the path. Hosts come
before paths: one tree for each host named, one for each `*.suffix`, one for the rules that name none.

Comparison is of segments, decoded once; what is forwarded is what was received. `decision.path` decides which
paths have exactly one reading. A path that has several is refused, unless the rule that it matches allows each kind
of its ambiguity by name and no reading of it leads to another rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final

from sidecar.decision.failure import Denied
from sidecar.decision.glob import Glob
from sidecar.decision.match import RequestMatch
from sidecar.decision.path import ALLOWABLE, TooLong, readings, segments
from sidecar.decision.reason import Reason
from sidecar.decision.request import RequestHead
from sidecar.decision.template import Template

__all__ = ["Matcher", "RequestMatch"]

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_LAST: Final = 1 << 62


class _Candidate:
    """A match at the end of its path in the tree."""

    __slots__ = (
        "absent",
        "captures",
        "ignore_case",
        "index",
        "is_plain",
        "match",
        "methods",
        "patterns",
        "present",
        "suffixes",
        "template",
    )

    def __init__(self, index: int, match: RequestMatch) -> None:
        self.index = index
        self.match = match
        self.ignore_case = match.ignore_case
        self.present = _folded(match.query_present) if match.ignore_case else match.query_present
        self.absent = _folded(match.query_absent) if match.ignore_case else match.query_absent
        self.template = template = Template.parse(match.path)
        self.captures: tuple[tuple[str, int], ...] = template.captures
        self.suffixes: tuple[tuple[int, str], ...] = template.suffixes
        self.methods: frozenset[str] | None = match.methods or None
        self.patterns = tuple([(at, _glob(text, match.ignore_case)) for at, text in match.patterns])
        self.is_plain = not (
            match.listeners
            or match.query_present
            or match.query_absent
            or template.suffixes
            or match.patterns
        )
        """Only method and path matter."""

    def fits(self, head: RequestHead, listener: str, parts: list[str]) -> bool:
        """Whether what a literal or a wildcard of the template does not say of segments, and what is neither host nor
        path, fits.
        """
        match = self.match
        for at, glob in self.patterns:
            if not glob.fits(parts[at].casefold() if self.ignore_case else parts[at]):
                return False
        for at, suffix in self.suffixes:
            part = parts[at]
            end = part[-len(suffix) :]
            # The capture before it is not empty.
            if len(part) == len(end) or not (
                end == suffix or (self.ignore_case and end.casefold() == suffix.casefold())
            ):
                return False
        if match.listeners and listener not in match.listeners:
            return False
        if not self.present and not self.absent:
            return True
        names = head.folded_query_names if self.ignore_case else head.query_names
        return self.present <= names and self.absent.isdisjoint(names)

    def captured(self, parts: list[str]) -> dict[str, str]:
        """What the template captures, by name."""
        found = {name: parts[at] for name, at in self.captures}
        for at, suffix in self.suffixes:
            for name, place in self.captures:
                if place == at:
                    found[name] = parts[at][: -len(suffix)]
        return found


def _glob(text: str, ignore_case: bool) -> Glob:  # noqa: FBT001 — as the match says
    return Glob(text.casefold() if ignore_case else text, ".")


def _folded(names: frozenset[str]) -> frozenset[str]:
    return frozenset([name.casefold() for name in names])


class _Node:
    """One level of the tree. Candidates are in policy order."""

    __slots__ = ("ends", "folded", "literals", "rests", "wildcard")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.folded: dict[str, _Node] = {}
        """Literals of templates that ignore case, without it."""
        self.wildcard: _Node | None = None
        self.ends: list[_Candidate] = []
        self.rests: list[_Candidate] = []

    def add(self, candidate: _Candidate) -> None:
        node = self
        for literal in candidate.template.literals:
            if literal is None:
                node.wildcard = node.wildcard or _Node()
                node = node.wildcard
            elif candidate.ignore_case:
                node = node.folded.setdefault(literal.casefold(), _Node())
            else:
                node = node.literals.setdefault(literal, _Node())
        (node.rests if candidate.template.takes_rest else node.ends).append(candidate)


class Matcher:
    """Finds the first match that fits."""

    def __init__(
        self, matches: Sequence[RequestMatch], allowances: Sequence[frozenset[str]] | None = None
    ) -> None:
        """`allowances[i]` are the kinds of ambiguity that match `i` lets through.

        Raises `ValueError` for a template or a kind that does not exist.
        """
        self._matches = matches
        self._allowances: Sequence[frozenset[str]] = allowances or [frozenset()] * len(matches)
        for kind in {kind for kinds in self._allowances for kind in kinds} - ALLOWABLE.keys():
            raise ValueError(f"no ambiguity that can be allowed: {kind}")
        self._depth = 0
        """How many segments of a path can matter."""
        self._any_host = _Node()
        self._hosts: dict[str, _Node] = {}
        self._suffixes: dict[str, _Node] = {}
        for index, match in enumerate(matches):
            self._add(index, match)

    def __reduce__(self) -> tuple[type["Matcher"], tuple[object, ...]]:
        """A pickle holds what the tree was made of: compiled objects show a pickler nothing else."""
        return Matcher, (self._matches, self._allowances)

    def first(self, head: RequestHead, listener: str = "") -> tuple[int, Mapping[str, str]] | None:
        """Index of the first match that fits and what its template captured, or None.

        Raises `Denied`: path_ambiguous, target_too_long.
        """
        try:
            parts, ambiguities = segments(head.path)
        except TooLong as limit:
            raise Denied(Reason.TARGET_TOO_LONG, "path", str(limit), "more") from None
        found = self._find(parts, head, listener)
        if ambiguities:
            self._refuse_other_readings(found, ambiguities, head, listener)
        if found is None:
            return None
        return found.index, found.captured(parts) if found.captures else _NOTHING

    def _find(self, parts: list[str], head: RequestHead, listener: str) -> _Candidate | None:
        found = self._search(self._any_host, parts, head, listener, None)
        if self._hosts or self._suffixes:
            for tree in self._trees(head.host):
                found = self._search(tree, parts, head, listener, found)
        return found

    def _refuse_other_readings(
        self, found: _Candidate | None, ambiguities: AbstractSet[str], head: RequestHead, listener: str
    ) -> None:
        """An ambiguous path passes by the rule that allows it, and only if nobody reads it as another rule's."""
        allowed = found is not None and ambiguities <= self._allowances[found.index]
        try:
            if allowed and all(
                self._find(parts, head, listener) in (found, None)
                for parts in readings(head.path, ambiguities, self._depth)
            ):
                return
        except TooLong as limit:
            raise Denied(Reason.TARGET_TOO_LONG, "path", str(limit), "more") from None
        expected = "one reading" if not allowed else "no reading that leads to another rule"
        raise Denied(Reason.PATH_AMBIGUOUS, "path", expected, " ".join(sorted(ambiguities)))

    def _add(self, index: int, match: RequestMatch) -> None:
        candidate = _Candidate(index, match)
        self._depth = max(self._depth, len(candidate.template.literals) + 1)
        if not match.hosts:
            self._any_host.add(candidate)
        for host in match.hosts:
            trees, name = (
                (self._suffixes, host.removeprefix("*.")) if host.startswith("*.") else (self._hosts, host)
            )
            trees.setdefault(name, _Node()).add(candidate)

    def _trees(self, host: str) -> Iterator[_Node]:
        if host in self._hosts:
            yield self._hosts[host]
        _, dot, suffix = host.partition(".")
        while dot:
            if suffix in self._suffixes:
                yield self._suffixes[suffix]
            _, dot, suffix = suffix.partition(".")

    @staticmethod
    def _search(
        root: _Node, parts: list[str], head: RequestHead, listener: str, best: _Candidate | None
    ) -> _Candidate | None:
        """The first candidate of a tree that fits and stands before `best`."""
        method = head.method
        index = _LAST if best is None else best.index
        level, depth, last = [root], 0, len(parts)
        while True:
            deeper = []
            for node in level:
                for candidate in node.rests if depth < last else node.rests + node.ends:
                    if (
                        candidate.index < index
                        and (candidate.methods is None or method in candidate.methods)
                        and (candidate.is_plain or candidate.fits(head, listener, parts))
                    ):
                        best, index = candidate, candidate.index
                if depth < last:
                    part = parts[depth]
                    literal = node.literals.get(part)
                    if literal is not None:
                        deeper.append(literal)
                    if node.folded and (folded := part.casefold()) in node.folded:
                        deeper.append(node.folded[folded])
                    if part and node.wildcard is not None:
                        deeper.append(node.wildcard)
            if not deeper:
                return best
            level, depth = deeper, depth + 1
