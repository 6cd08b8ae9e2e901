"""What the policy files say, as frozen values. Each issuer and rule is validated by itself, so that one that is
wrong hides nothing of the others.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from sidecar.decision.matching import RequestMatch
from sidecar.decision.origin import Origin
from sidecar.decision.policy import (
    Binding,
    IntrospectWhen,
    IssuerPolicy,
    Policy,
    ReportOnly,
    Rule,
    RuleLimits,
)
from sidecar.decision.template import Template
from sidecar.issuer.configuration import IssuerSettings
from sidecar.settings import document as documents
from sidecar.settings.document import Document
from sidecar.settings.dpop_sections import confirmable, proof_policy
from sidecar.settings.issuer_sections import IssuerSection, ReportOnlySection
from sidecar.settings.issuer_settings import claim_names, issuer_settings
from sidecar.settings.problem import Problem, SettingsError, shown
from sidecar.settings.review import PlacedRule, review
from sidecar.settings.rule_sections import Match, PolicyFile, RuleSection
from sidecar.settings.section import Section, Surroundings, nearest, validate

RULES: Final = documents.MEMBERS
"""The largest number of rules in one policy."""
SOON: Final = 14 * 86400
"""Seconds before report-only ends from which there is a warning."""


@dataclass(slots=True)
class Policies:
    """Everything the policy files say, gathered file by file."""

    problems: list[Problem] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    """The documents that were read."""
    sections: list[tuple[Document, tuple[str | int, ...], Section]] = field(default_factory=list)
    """Every valid section, where it stands."""
    issuers: dict[str, IssuerPolicy] = field(default_factory=dict)
    issuer_settings: list[IssuerSettings] = field(default_factory=list)
    placed_issuers: list[tuple[Document, tuple[str | int, ...], IssuerSettings]] = field(default_factory=list)
    """The same, and where each stands."""
    rules: list[PlacedRule] = field(default_factory=list)
    _issuers_named: dict[str, Problem] = field(default_factory=dict)
    _rules_named: dict[str, Problem] = field(default_factory=dict)

    def add_file(self, path: Path, *, absent_files_pass: bool) -> None:
        """Read one file."""
        try:
            document = documents.read(path)
        except SettingsError as error:
            self.problems.extend(error.problems)
            return
        self.documents.append(document)
        self.problems.extend(document.problems)
        around = Surroundings(path.parent, absent_files_pass)
        frame = self._frame(document, around)
        if not isinstance(document.data, dict):
            return
        for index, data in enumerate(_list(document.data, "issuers")):
            self._add_issuer(document, index, data, around)
        for index, data in enumerate(_list(document.data, "rules")):
            if len(self._rules_named) >= RULES:
                self.problems.append(document.problem(("rules", index), f"more than {RULES} rules"))
                break
            self._add_rule(document, index, data, around, frame.report_only if frame else None)

    def _frame(self, document: Document, around: Surroundings) -> PolicyFile | None:
        """The file without its issuers and rules."""
        data = document.data
        if isinstance(data, dict):
            data = data | {key: [] for key in ("issuers", "rules") if isinstance(data.get(key), list)}
        frame, problems = validate(PolicyFile, document, (), data, around)
        self.problems.extend(problems)
        return frame

    def _add_issuer(self, document: Document, index: int, data: Any, around: Surroundings) -> None:
        path = ("issuers", index)
        self._name_once(self._issuers_named, document, (*path, "issuer"), data, "issuer")
        section, problems = validate(IssuerSection, document, path, data, around)
        self.problems.extend(problems)
        if section is not None:
            self.sections.append((document, path, section))
            self.issuers.setdefault(section.issuer, issuer_policy(section))
            self.issuer_settings.append(issuer_settings(section))
            self.placed_issuers.append((document, path, self.issuer_settings[-1]))

    def _add_rule(
        self,
        document: Document,
        index: int,
        data: Any,
        around: Surroundings,
        file_report_only: ReportOnlySection | None,
    ) -> None:
        path = ("rules", index)
        self._name_once(self._rules_named, document, (*path, "name"), data, "name")
        section, problems = validate(RuleSection, document, path, data, around)
        self.problems.extend(problems)
        if section is not None:
            self.sections.append((document, path, section))
            self.rules.append(PlacedRule(rule(section, file_report_only), document, path))

    def _name_once(
        self, named: dict[str, Problem], document: Document, path: tuple[str | int, ...], data: Any, key: str
    ) -> None:
        name = data.get(key) if isinstance(data, dict) else None
        if not isinstance(name, str):
            named[f"\0{document.file}\0{path}"] = document.problem(path, "")
            return
        first = named.setdefault(name, document.problem(path, ""))
        if first != document.problem(path, ""):
            where = f"{first.file}:{first.line}"
            self.problems.append(document.problem(path, f"{shown(name)} is taken: first at {where}"))

    def check_references(self, listeners: Iterable[str]) -> None:
        """Names in rules must exist, and a rule must not contradict the profile of an issuer."""
        for placed in self.rules:
            accepted = placed.rule.issuers if placed.rule.issuers is not None else self.issuers.keys()
            strict = [
                name for name in sorted(accepted) if name in self.issuers and self.issuers[name].profile
            ]
            if strict and placed.rule.binding not in {None, Binding.REQUIRED} and not placed.rule.public:
                message = f"the profile of {shown(strict[0])} needs bound tokens: use other `issuers`"
                self.problems.append(placed.document.problem((*placed.path, "binding"), message))
        known = {"issuers": sorted(self._issuers_named), "listener": sorted(listeners)}
        for placed in self.rules:
            for path, key, names in _references(placed.rule):
                for name in sorted(names - set(known[key])):
                    kind = "listener" if key == "listener" else "issuer"
                    message = f"there is no {kind} named {shown(name)}{nearest(name, known[key])}"
                    self.problems.append(placed.document.problem((*placed.path, *path), message))
            self.problems.extend(_uncaptured(placed))

    def doubts(self, trusting: frozenset[str], now: float | None = None) -> Iterator[Problem]:
        """What is allowed, but probably not intended. `trusting` names the listeners with `trust: any`."""
        if now is not None:
            yield from self._endings(now)
        for placed in self.rules:
            listeners = sorted((placed.rule.match.listeners or trusting) & trusting)
            if listeners and any(one.names_holder for one in placed.rule.conditions):
                message = f"listener {shown(listeners[0])} has `trust: any`: only the token's issuer vouches for names"
                yield placed.warning(message, "require", "client_certificate")
        yield from review(self.rules)
        for document, path, section in self.sections:
            if isinstance(section, IssuerSection) and section.binding == "not_required":
                message = "does not require binding: a stolen unbound token passes"
                yield document.warning((*path, "binding"), message)
        if not self.issuers and any(not placed.rule.public for placed in self.rules):
            placed = next(placed for placed in self.rules if not placed.rule.public)
            yield placed.warning("no issuer is configured: every token will be refused", "name")

    def _endings(self, now: float) -> Iterator[Problem]:
        placed = [(one.document, one.path, one.rule.report_only) for one in self.rules]
        issuers = [
            (document, path, self.issuers[section.issuer].report_only)
            for document, path, section in self.sections
            if isinstance(section, IssuerSection)
        ]
        for document, path, report_only in (*placed, *issuers):
            if report_only is None or report_only.until - now > SOON:
                continue
            day = datetime.fromtimestamp(report_only.until, UTC).date().isoformat()
            tense = "ended" if report_only.until <= now else "ends"
            # Where the file's own `report_only` counts, the rule has none: then the rule itself is the place.
            yield document.warning(
                (*path, "report_only"), f"report only {tense} on {day}: from then on this is enforced"
            )

    def policy(self, origins: tuple[Origin, ...] = ()) -> Policy:
        """The policy, compiled. `origins` are the origins under which clients reach the protected resource."""
        rules = tuple(placed.rule for placed in self.rules)
        return Policy(MappingProxyType(self.issuers), rules, origins=origins)

    def check_proofs(self, *, has_origins: bool, has_nonce_key: bool) -> None:
        """The origins that proofs are compared with must be set."""
        for document, path, section in self.sections:
            if not isinstance(section, IssuerSection) or "DPoP" not in (section.schemes or ()):
                continue
            if not has_origins:
                message = (
                    "DPoP needs `protected_resource.origins` in the service file: `htu` is compared with them"
                )
                self.problems.append(document.problem((*path, "schemes"), message))
            if section.dpop is not None and section.dpop.nonce == "required" and not has_nonce_key:
                message = "needs `dpop.nonce_key_file` in the service file"
                self.problems.append(document.problem((*path, "dpop", "nonce"), message))


def _list(data: dict[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else []


def _uncaptured(placed: PlacedRule) -> Iterator[Problem]:
    """Values that conditions take from the path, though its template does not capture them."""
    known = [name for name, _ in Template.parse(placed.rule.match.path).captures]
    for condition in placed.rule.conditions:
        for name in sorted(condition.captures - set(known)):
            at = (*placed.path, "require", *condition.place)
            message = f"the path does not capture {{{name}}}{nearest(name, known)}"
            yield placed.document.problem(at, message)


def _references(rule: Rule) -> Iterator[tuple[tuple[str, ...], str, frozenset[str]]]:
    if rule.issuers:
        yield ("require", "issuers"), "issuers", rule.issuers
    if rule.match.listeners:
        yield ("match", "listener"), "listener", rule.match.listeners


def issuer_policy(section: IssuerSection) -> IssuerPolicy:
    """What is accepted from one issuer."""
    given: dict[str, Any] = {}
    if section.profile is not None:
        given["profile"] = section.profile
        given["algorithms"] = frozenset({"PS256", "ES256", "EdDSA"})
    if section.algorithms is not None:
        given["algorithms"] = frozenset(section.algorithms)
    if section.token_types is not None:
        given["token_types"] = frozenset(
            # RFC 7515 §4.1.9, RFC 2045 §5.1: media types are compared without regard to case.
            one.lower().removeprefix("application/")
            for one in section.token_types
        )
    if section.binding is not None:
        given["binding"] = Binding(section.binding)
    if section.clock_skew is not None:
        given["clock_skew"] = int(section.clock_skew)
    if section.introspection is not None:
        given["introspect"] = IntrospectWhen(section.introspection.when)
        given["same_subject"] = section.introspection.same_subject is not False
        if section.introspection.token_bytes is not None:
            given["opaque_token_bytes"] = section.introspection.token_bytes
    return IssuerPolicy(
        confirmable=confirmable(section.schemes, section.informative_confirmation),
        proof=proof_policy(section.dpop),
        issuer=section.issuer,
        audience=frozenset(section.audience),
        audience_missing=section.insecure_audience_missing,
        claim_names=claim_names(section),
        report_only=_report_only(section.report_only),
        **given,
    )


def _report_only(section: ReportOnlySection | None) -> ReportOnly | None:
    return None if section is None else ReportOnly(section.until)


def rule(section: RuleSection, file_report_only: ReportOnlySection | None = None) -> Rule:
    """One rule; the file's `report_only` counts if the rule has none."""
    given: dict[str, Any] = {}
    require = section.require
    if require is not None:
        given["issuers"] = None if require.issuers is None else frozenset(require.issuers)
        given["audience"] = None if require.audience is None else frozenset(require.audience)
        given["scopes"] = tuple(require.scopes or ())
        given["any_scope"] = tuple(require.any_scope or ())
        given["conditions"] = tuple(require.conditions())
    return Rule(
        name=section.name,
        match=request_match(section.match),
        public=section.public,
        cors_preflight=section.cors_preflight,
        binding=None if section.binding is None else Binding(section.binding),
        report_only=None if section.public else _report_only(section.report_only or file_report_only),
        limits=None if section.limits is None else RuleLimits(**section.limits.given()),
        identity_headers=None
        if section.identity_headers is None
        else MappingProxyType(section.identity_headers),
        upgrade=frozenset({"websocket"} if section.upgrade is None else section.upgrade),
        allow_ambiguous_paths=frozenset(section.allow_ambiguous_paths),
        **given,
    )


def request_match(section: Match) -> RequestMatch:
    """Which requests a rule is for."""
    given: dict[str, Any] = {}
    if section.grpc is not None:
        given["methods"], given["is_grpc"] = frozenset({"POST"}), True
        given["path"], given["patterns"] = section.grpc.path(), section.grpc.patterns()
    if section.methods is not None:
        given["methods"] = frozenset(section.methods)
    if section.path is not None:
        given["path"] = section.path
    if section.host is not None:
        given["hosts"] = frozenset(section.host)
    if section.listener is not None:
        given["listeners"] = frozenset(section.listener)
    return RequestMatch(
        query_present=frozenset(section.query.present),
        query_absent=frozenset(section.query.absent),
        ignore_case=section.ignore_case,
        **given,
    )
