"""What is allowed, but probably not intended: rules that never match, rules in a surprising order, open doors.

Theory of operation: rules are laid one after the other into a tree of their path templates. Before a rule goes in,
the tree is asked for the earlier rules whose template takes every path that its own takes; only these are compared
in full. So the cost grows with the number of rules, not with its square.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sidecar.decision.matching import RequestMatch
from sidecar.decision.policy import Binding, Rule
from sidecar.decision.template import Template
from sidecar.settings.document import Document
from sidecar.settings.pattern_review import meet, takes_all
from sidecar.settings.problem import Problem, shown


@dataclass(frozen=True, slots=True)
class PlacedRule:
    """A rule, and its place."""

    rule: Rule
    document: Document
    path: tuple[str | int, ...]

    def warning(self, message: str, *path: str) -> Problem:
        """A warning at a key of this rule."""
        return self.document.warning((*self.path, *path), message)

    def place(self) -> str:
        """File and line."""
        return f"{self.document.file}:{self.document.position(self.path)[0]}"


_Edge = tuple[str, bool]
"""A segment of a template: its literal text, and whether some text that is not empty comes before it."""


def _edges(template: Template) -> list[_Edge]:
    return [
        (template.suffix(at), True) if literal is None else (literal, False)
        for at, literal in enumerate(template.literals)
    ]


def _takes(wide: _Edge, narrow: _Edge) -> bool:
    """Whether `wide` accepts each segment that `narrow` accepts."""
    if wide == narrow:
        return True
    (end, is_open), (text, is_open_too) = wide, narrow
    return is_open and text.endswith(end) and (is_open_too or len(text) > len(end))


@dataclass(slots=True)
class _Node:
    """One segment of the templates in the tree."""

    inner: "dict[_Edge, _Node]" = field(default_factory=dict)
    ends: list[PlacedRule] = field(default_factory=list)
    rests: list[PlacedRule] = field(default_factory=list)

    def add(self, placed: PlacedRule, template: Template) -> None:
        node = self
        for edge in _edges(template):
            node = node.inner.setdefault(edge, _Node())
        (node.rests if template.takes_rest else node.ends).append(placed)

    def wider(self, template: Template, depth: int = 0) -> Iterator[PlacedRule]:
        """The rules whose template takes every path that `template` takes."""
        yield from self.rests
        if depth == len(template.literals):
            if not template.takes_rest:
                yield from self.ends
            return
        narrow = _edges(template)[depth]
        for edge, node in self.inner.items():
            if _takes(edge, narrow):
                yield from node.wider(template, depth + 1)

    def meeting(self, template: Template, depth: int = 0) -> Iterator[PlacedRule]:
        """The rules whose template takes some path that `template` takes."""
        yield from self.rests
        if depth == len(template.literals):
            yield from self.inside() if template.takes_rest else self.ends
            return
        other = _edges(template)[depth]
        for edge, node in self.inner.items():
            if _takes(edge, other) or _takes(other, edge):
                yield from node.meeting(template, depth + 1)

    def inside(self) -> Iterator[PlacedRule]:
        """Every rule from here on, but for those that take all the rest from here."""
        yield from self.ends
        for node in self.inner.values():
            yield from node.rests
            yield from node.inside()


def review(rules: Sequence[PlacedRule]) -> Iterator[Problem]:
    """Warnings about the rules, in the order of the policy."""
    fallen = _falling_through(rules)
    tree, open_tree = _Node(), _Node()
    for placed in rules:
        template = Template.parse(placed.rule.match.path)
        doubts = list(_order(placed, list(tree.wider(template))))
        if not doubts and not placed.rule.public:
            doubts = list(_crossing(placed, open_tree.meeting(template)))
        yield from doubts
        yield from fallen.get(placed.rule.name, ())
        yield from _openness(placed, template)
        tree.add(placed, template)
        if placed.rule.public:
            open_tree.add(placed, template)


def _order(placed: PlacedRule, earlier: Sequence[PlacedRule]) -> Iterator[Problem]:
    match = placed.rule.match
    for other in earlier:
        if _covers(other.rule.match, match):
            message = f"never matches: rule {shown(other.rule.name)} ({other.place()}) fits all of it first"
            yield placed.warning(message, "name")
            return
    for other in earlier:
        if other.rule.match.path != match.path and _meet(other.rule.match, match):
            methods = _common_methods(other.rule.match, match)
            message = f"some of it ({methods}) goes to the wider rule {shown(other.rule.name)} ({other.place()}) first"
            yield placed.warning(message, "name")
            return


def _crossing(placed: PlacedRule, earlier: Iterator[PlacedRule]) -> Iterator[Problem]:
    """A public rule before one that is not, when some request fits both and neither takes all of the other's.

    A public rule that is the narrower one is how exceptions are written, and no doubt.
    """
    narrow = Template.parse(placed.rule.match.path)
    for other in earlier:
        alone = _Node()
        alone.add(placed, narrow)
        is_exception = any(alone.wider(Template.parse(other.rule.match.path)))
        if not is_exception and _meet(other.rule.match, placed.rule.match):
            message = f"what also fits {shown(other.rule.match.path)} goes to the public rule"
            yield placed.warning(f"{message} {shown(other.rule.name)} ({other.place()}) first", "name")
            return


def _falling_through(rules: Sequence[PlacedRule]) -> dict[str, list[Problem]]:
    """By a narrow rule's name: what the API may take for its path and a wider rule behind it lets through for less.

    An API may compare without case (Express, ASP.NET) or take a suffix for a format (Rails, Spring): `/Admin` and
    `/admin.json` are then `/admin` to it and another path to the rules.
    """
    found: dict[str, list[Problem]] = {}
    order = {placed.rule.name: at for at, placed in enumerate(rules)}
    templates = {placed.rule.name: Template.parse(placed.rule.match.path) for placed in rules}
    behind = _Node()
    for placed in reversed(rules):
        template = templates[placed.rule.name]
        # Whatever is public asks for nothing, and a path without a literal has no variants: none behind it matters.
        is_narrow = not placed.rule.public and any(template.literals)
        wider = behind.wider(template) if is_narrow else ()
        for other in sorted(wider, key=lambda each: order[each.rule.name]):
            variants = _variants(placed.rule.match, template, templates[other.rule.name])
            if (
                variants
                and _meet(placed.rule.match, other.rule.match)
                and _asks_less(other.rule, placed.rule)
            ):
                place = f"rule {shown(other.rule.name)} ({other.place()})"
                message = f"{variants}, if the API treats it the same, goes to {place}, which requires less"
                cure = (
                    ""
                    if placed.rule.match.ignore_case
                    else " (`ignore_case: true` is for APIs that ignore case)"
                )
                found[placed.rule.name] = [placed.warning(message + cure, "match")]
                break
        behind.add(placed, template)
    return found


def _variants(match: RequestMatch, narrow: Template, wide: Template) -> str:
    """Paths of another case or with a suffix that fit `wide` and not `narrow`; empty when there are none."""
    literals, others = narrow.literals, wide.literals
    free = [at for at, text in enumerate(literals) if text and (at >= len(others) or others[at] is None)]
    cased = [at for at in free if not match.ignore_case and literals[at] != (literals[at] or "").swapcase()]
    variants = [_path(literals, at, (literals[at] or "").swapcase()) for at in cased[-1:]]
    if free and free[-1] == len(literals) - 1 and not match.is_grpc:
        variants.append(_path(literals, free[-1], f"{literals[free[-1]]}.json"))
    return " or ".join(map(shown, variants))


def _path(literals: tuple[str | None, ...], at: int, text: str) -> str:
    return "".join(f"/{text if index == at else part or '*'}" for index, part in enumerate(literals))


def _asks_less(wide: Rule, narrow: Rule) -> bool:
    """Whether `wide` lets something through that `narrow` refuses."""
    if narrow.public or (narrow.report_only is not None and wide.report_only is None):
        return False
    return (
        wide.public
        or (wide.report_only is not None and narrow.report_only is None)
        or (narrow.binding is Binding.REQUIRED and wide.binding not in (None, Binding.REQUIRED))
        or not frozenset(narrow.scopes) <= frozenset(wide.scopes)
        or not _all_within(frozenset(wide.any_scope), frozenset(narrow.any_scope))
        or not _all_within(wide.issuers or frozenset(), narrow.issuers or frozenset())
        or not _all_within(wide.audience or frozenset(), narrow.audience or frozenset())
        or any(condition not in wide.conditions for condition in narrow.conditions)
    )


def _covers(wide: RequestMatch, narrow: RequestMatch) -> bool:
    """Whether all that fits `narrow` fits `wide`, apart from the template of the path."""
    return (
        (wide.ignore_case or not narrow.ignore_case or not any(Template.parse(wide.path).literals))
        and _all_within(narrow.methods, wide.methods)
        and _all_within(narrow.listeners, wide.listeners)
        and _hosts_within(narrow.hosts, wide.hosts)
        and wide.query_present <= narrow.query_present
        and wide.query_absent <= narrow.query_absent
        and all(takes_all(name, others) for name, others in _names(wide, narrow))
    )


def _meet(one: RequestMatch, other: RequestMatch) -> bool:
    """Whether some request may fit both, apart from the path."""
    return (
        _some_in_both(one.methods, other.methods)
        and _some_in_both(one.listeners, other.listeners)
        and (not one.hosts or not other.hosts or _hosts_meet(one.hosts, other.hosts))
        and one.query_present.isdisjoint(other.query_absent)
        and one.query_absent.isdisjoint(other.query_present)
        and all(meet(name, others) for name, others in (*_names(one, other), *_names(other, one)))
    )


def _names(match: RequestMatch, other: RequestMatch) -> Iterator[tuple[str, str]]:
    """The patterns of `match`, and what `other` takes in their places, as a pattern."""
    literals, patterns = Template.parse(other.path).literals, dict(other.patterns)
    for at, name in match.patterns:
        literal = literals[at] if at < len(literals) else None
        others = literal or patterns.get(at, "**")
        folds = match.ignore_case or other.ignore_case
        yield (name.casefold(), others.casefold()) if folds else (name, others)


def _all_within(narrow: frozenset[str], wide: frozenset[str]) -> bool:
    return not wide or bool(narrow and narrow <= wide)


def _some_in_both(one: frozenset[str], other: frozenset[str]) -> bool:
    return not one or not other or not one.isdisjoint(other)


def _host_within(host: str, pattern: str) -> bool:
    if host == pattern:
        return True
    return pattern.startswith("*.") and host.removeprefix("*").endswith(pattern[1:]) and host != pattern[2:]


def _hosts_within(narrow: frozenset[str], wide: frozenset[str]) -> bool:
    if not wide:
        return True
    return bool(narrow) and all(any(_host_within(host, pattern) for pattern in wide) for host in narrow)


def _hosts_meet(one: frozenset[str], other: frozenset[str]) -> bool:
    return any(_host_within(a, b) or _host_within(b, a) for a in one for b in other)


def _common_methods(one: RequestMatch, other: RequestMatch) -> str:
    methods = (one.methods or other.methods) & (other.methods or one.methods)
    return ", ".join(sorted(methods)) if methods else "every method"


def _openness(placed: PlacedRule, template: Template) -> Iterator[Problem]:
    rule = placed.rule
    if rule.public:
        yield placed.warning(
            "is public: everyone who can reach the listener passes, without a token", "public"
        )
    if rule.binding is Binding.NOT_REQUIRED:
        yield placed.warning("does not require binding: a stolen unbound token passes", "binding")
    if template.takes_rest and not any(template.literals):
        yield placed.warning(f"{shown(rule.match.path)} fits every path", "match", "path")
