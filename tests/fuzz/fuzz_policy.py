"""The text of a policy file: rules and issuers, or problems at their places; whatever else would be ours."""

from pathlib import Path

from sidecar.decision.policy import Rule
from sidecar.settings import document as documents
from sidecar.settings.issuer_sections import IssuerSection
from sidecar.settings.issuer_settings import issuer_settings
from sidecar.settings.policies import issuer_policy, rule
from sidecar.settings.problem import Problem, SettingsError
from sidecar.settings.rule_sections import PolicyFile, RuleSection
from sidecar.settings.section import Surroundings, validate

SEEDS = [
    b"issuers: [{issuer: https://as.example.com, audience: a, keys: {discovery: true}, clock_skew: 30s}]\n",
    b"""rules:
- name: a
  match: {methods: [GET], path: "/a/{id}/**", host: "*.example.com"}
  require: {scopes: [a], claims: {t: "{id}", r: {contains: x}, n: {at_least: 1.5}}}
""",
    b"rules: [{name: a, match: {}, require: {client_certificate: {san_dns: {claim: c}, not_after_margin: 1h}}}]\n",
    b"report_only: {until: 2027-01-31}\nrules:\n- &x {name: a, match: no}\n- *x\n- !!str y\n",
    b"a: [[[[[[{b: ~}]]]]]]\n---\n\ta: 010\n",
]
_NOWHERE = Surroundings(Path("/nowhere"), absent_files_pass=True)


def target(data: bytes) -> None:
    """Every problem has a place in the file and is one line; every rule has a matcher that compiles."""
    try:
        document = documents.parse("f", data)
    except SettingsError as error:
        check(error.problems)
        return
    check(document.problems)
    file, problems = validate(PolicyFile, document, (), document.data, _NOWHERE)
    check(problems)
    if file is None:
        return
    for section in file.rules:
        assert isinstance(section, RuleSection)
        assert isinstance(rule(section, file.report_only), Rule)
    for issuer in file.issuers:
        assert isinstance(issuer, IssuerSection)
        assert issuer_policy(issuer).issuer == issuer_settings(issuer).issuer


def check(problems: tuple[Problem, ...] | list[Problem]) -> None:
    for problem in problems:
        assert problem.message
        assert str(problem).isprintable()
        assert (problem.line > 0) == (problem.column > 0)


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
