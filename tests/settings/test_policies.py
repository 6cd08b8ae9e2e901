"""The policy language: what each word becomes, and each mistake at its place."""

import pytest

from sidecar.decision.policy import Binding, ReportOnly, Rule, RuleLimits
from tests.support.configuration import ISSUER, POLICY, Configuration

JANUARY_31 = 1801353600  # 2027-01-31T00:00:00Z


def rule(configuration: Configuration, text: str) -> Rule:
    """The one rule whose members are `text`."""
    configuration.write_rule(text)
    (found,) = configuration.load().policy.rules
    return found


def test_everything_a_match_can_say(configuration: Configuration) -> None:
    match = rule(
        configuration,
        'match: {methods: [GET, POST], path: "/a/{id}/**", host: [api.example.com, "*.example.org"],'
        " query: {present: [x], absent: [y]}, listener: 127.0.0.1:8443}",
    ).match
    assert match.methods == {"GET", "POST"}
    assert match.path == "/a/{id}/**"
    assert match.hosts == {"api.example.com", "*.example.org"}
    assert match.query_present == {"x"}
    assert match.query_absent == {"y"}
    assert match.listeners == {"127.0.0.1:8443"}


def test_everything_about_a_rule_itself(configuration: Configuration) -> None:
    found = rule(
        configuration,
        """match: {path: /a}
    binding: if_bound
    cors_preflight: true
    report_only: {until: 2027-01-31}
    limits: {body_bytes: 1MiB, response_timeout: 2m, stream_timeout: 0s, total_timeout: 1h, concurrent_requests: 4}
    identity_headers: {X-Tenant: tenant}
    allow_ambiguous_paths: [encoded_slash]""",
    )
    assert found.binding is Binding.IF_BOUND
    assert found.cors_preflight
    assert found.report_only == ReportOnly(JANUARY_31)
    assert found.limits == RuleLimits(1 << 20, 120.0, 0.0, 3600.0, 4)
    assert dict(found.identity_headers or {}) == {"X-Tenant": "tenant"}
    assert found.allow_ambiguous_paths == {"encoded_slash"}


def test_scopes_issuers_and_audience(configuration: Configuration) -> None:
    found = rule(
        configuration,
        "match: {path: /a}\n    require: {scopes: [a, b], any_scope: [c], audience: [x, y],"
        " issuers: https://as.example.com}",
    )
    assert (found.scopes, found.any_scope) == (("a", "b"), ("c",))
    assert found.issuers == frozenset({"https://as.example.com"})
    assert found.audience == frozenset({"x", "y"})


REQUIRE = 'match: {path: "/a/{id}"}\n    require: {%s}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("match: {path: accounts}", "7:19: a path begins with /"),
        ('match: {path: "/a/**/b"}', "7:19: ** stands only at the end"),
        (
            'match: {path: "/a/x{id}"}',
            "7:19: a wildcard is a whole segment, and a capture begins one ({id}:go), unlike 'x{id}'",
        ),
        ('match: {path: "/{a}/{a}"}', "7:19: a name is captured twice"),
        (
            'match: {path: "/a?b=c"}',
            "7:19: `/a?b=c` has a character that a path cannot have: queries are matched by `query`",
        ),
        ("match: {methods: [get]}", "7:23: `get` is not a method: methods are in upper case"),
        ("match: {method: [GET]}", "7:13: unknown key `method`; did you mean `methods`?"),
        (
            "match: {host: API.example.com}",
            "7:19: `API.example.com` is not a host in lower case without port",
        ),
        (
            "match: {host: 'api.example.com:443'}",
            "7:19: `api.example.com:443` is not a host in lower case without port",
        ),
        ("match: {listener: inside}", "7:23: there is no listener named `inside` (known: 127.0.0.1:8443)"),
        ("public: true", "6:5: missing key `match`"),
        (
            "match: {}\n    public: true\n    require: {scopes: [a]}",
            "9:5: `require` contradicts `public: true`",
        ),
        ("match: {}\n    public: true\n    binding: required", "9:5: `binding` contradicts `public: true`"),
        (
            "match: {}\n    binding: maybe",
            "8:14: expected one of required, if_bound, not_required, got `maybe`",
        ),
        ("match: {}\n    report_only: {until: tomorrow}", "8:26: a date is written 2027-01-31"),
        ("match: {}\n    report_only: true", "8:18: expected a mapping of keys to values, got true"),
        ("match: {}\n    report_only: {}", "8:5: missing key `until`"),
        ("match: {}\n    require: {}", "8:14: requires nothing: leave it out, or add a condition"),
        ("match: {}\n    require: {scopes: []}", "8:23: must not be empty"),
        ("match: {}\n    require: {scopes: read}", "8:23: expected a list, got `read`: write [read]"),
        (
            "match: {}\n    require: {scopes: ['a b']}",
            "8:24: `a b` is not one scope: printable ASCII without spaces and quotes",
        ),
        (
            "match: {}\n    require: {issuers: https://as.example.con}",
            "8:24: there is no issuer named `https://as.example.con`; did you mean `https://as.example.com`?",
        ),
        ("match: {}\n    limits: {body: 1}", "8:14: unknown key `body`; did you mean `body_bytes`?"),
        (
            "match: {}\n    identity_headers: {X_A: sub}",
            "8:24: `X_A` is not a header name of letters, digits and hyphens",
        ),
        (
            "match: {}\n    identity_headers: {Cookie2: }",
            "8:33: an empty value: give it a value, or remove the key",
        ),
        (
            "match: {}\n    allow_ambiguous_paths: [encoded_slahs]",
            "8:29: `encoded_slahs` is not an ambiguity that can be allowed; did you mean `encoded_slash`?",
        ),
        (
            "match: {}\n    allow_ambiguous_paths: [dot_segment]",
            "8:29: `dot_segment` is not an ambiguity that can be allowed",
        ),
        (
            "match: {methods: [GET]}\n    cors_preflight: true",
            "8:5: has no effect: `methods` leaves out OPTIONS, the method of a preflight",
        ),
        (REQUIRE % "claims: {a: {}}", "has no operator: use one of equals, one_of"),
        (REQUIRE % "claims: {a: {eqals: 1}}", "8:28: unknown key `eqals`; did you mean `equals`?"),
        (REQUIRE % "claims: {a: {equals: [1]}}", "8:36: expected text, a number, true or false, got a list"),
        (REQUIRE % "claims: {a: {at_least: many}}", "8:38: expected a number, got `many`"),
        (REQUIRE % "claims: {a: {exists: false, equals: 1}}", "8:28: `exists: false` stands alone"),
        (REQUIRE % "claims: {a..b: 1}", "8:24: `a..b` is not a claim: names with dots between them"),
        (REQUIRE % 'claims: {a: "{account}"}', "8:27: the path does not capture {account}"),
        (REQUIRE % "client_certificate: {}", "8:35: has no condition on the certificate"),
        (
            REQUIRE % "client_certificate: {san_dns: {}}",
            "8:45: expected a name, a list of names, or {claim: NAME}",
        ),
        (
            REQUIRE % "client_certificate: {subject: 'CN=*'}",
            "8:45: `CN=*`: wildcards are not allowed in a distinguished name",
        ),
        (
            REQUIRE % "client_certificate: {spiffe_id: prod/api}",
            "8:47: `prod/api` is not of the form spiffe://trust-domain/path",
        ),
        (REQUIRE % "authorization_details: [{fields: {a: 1}}]", "8:39: missing key `type`"),
        (REQUIRE % "max_authentication_age: 3600", "8:39: a duration needs a unit: 3600s? (ms, s, m, h, d)"),
    ],
)
def test_a_mistake_in_a_rule_is_named_at_its_place(
    configuration: Configuration, text: str, expected: str
) -> None:
    configuration.write_rule(text)
    assert any(expected in one for one in configuration.said()), configuration.said()


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("00" * 32, f"is base64url, not hex: {'A' * 43}"),
        (":".join(["00"] * 32), f"is base64url, not hex: {'A' * 43}"),
        ("00" * 20, "that is a SHA-1"),
        ("A" * 43 + "=", f"without padding: {'A' * 43}"),
        ("/" * 42 + "A", f"without padding: {'_' * 42}A"),
        ("nonsense", "`nonsense` is not a thumbprint"),
        ("A" * 42 + "B", "is base64url without padding"),
    ],
)
def test_a_thumbprint_in_another_spelling_is_told_the_right_one(
    configuration: Configuration, written: str, hint: str
) -> None:
    configuration.write_rule(f'match: {{}}\n    require: {{client_certificate: {{thumbprint: "{written}"}}}}')
    (problem,) = configuration.problems()
    assert hint in problem.message


def test_policy_files_are_merged_in_the_order_of_their_names(configuration: Configuration) -> None:
    configuration.write_policy("rules: [{name: second, match: {path: /b}}]\n", "20.yaml")
    configuration.write_policy("rules: [{name: first, match: {path: /a}}]\n", "10.yaml")
    assert [one.name for one in configuration.load().policy.rules] == ["first", "second", "read"]


def test_a_rule_name_is_unique_over_all_files(configuration: Configuration) -> None:
    configuration.write_policy("rules: [{name: read, match: {path: /b}}]\n", "10.yaml")
    (problem,) = configuration.problems()
    assert problem.file.endswith("policy.yaml")
    assert (problem.line, problem.column) == (6, 11)
    assert problem.message == f"`read` is taken: first at {configuration.folder}/policies/10.yaml:1"


def test_an_issuer_is_declared_once(configuration: Configuration) -> None:
    configuration.write_policy(ISSUER, "10.yaml")
    (problem,) = configuration.problems()
    assert problem.message.startswith("`https://as.example.com` is taken: first at ")


def test_a_rule_that_is_wrong_hides_nothing_of_the_others(configuration: Configuration) -> None:
    configuration.write_policy(
        POLICY + "  - {name: read, match: {path: x}}\n  - {name: b, math: {}}\n  - 7\n"
    )
    messages = [one.message for one in configuration.problems()]
    assert len(messages) == 4
    assert messages[0].startswith("`read` is taken")
    assert messages[-1] == "expected a mapping of keys to values, got 7"


def test_report_only_of_a_file_counts_for_its_rules_alone(configuration: Configuration) -> None:
    configuration.write_policy(
        "report_only: {until: 2027-01-31}\nrules: [{name: a, match: {path: /b}},"
        " {name: p, match: {path: /p}, public: true},"
        " {name: c, match: {path: /c}, report_only: {until: 2027-02-01}}]\n",
        "10.yaml",
    )
    ends = [one.report_only for one in configuration.load().policy.rules]
    assert ends == [ReportOnly(JANUARY_31), None, ReportOnly(JANUARY_31 + 86400), None]


def test_headers_that_one_rule_sets_are_stripped_everywhere(configuration: Configuration) -> None:
    configuration.write_rule("match: {path: /a}\n    identity_headers: {X-Tenant: tenant}")
    assert "X-Tenant" in configuration.load().proxy.identity_names


def test_an_empty_policy_file_is_a_mistake_and_an_empty_policy_is_not(configuration: Configuration) -> None:
    configuration.write_policy("")
    assert configuration.said() == ["1:1: the file is empty"]
    configuration.write_policy("rules: []\n")
    assert configuration.load().policy.rules == ()
    configuration.write_policy("- a\n")
    assert configuration.said() == ["1:1: expected a mapping of keys to values, got a list"]


def test_more_rules_than_ten_thousand_are_one_line(configuration: Configuration) -> None:
    rules = "".join(f"- {{name: r{n}, match: {{path: /{n}}}, public: true}}\n" for n in range(50_000))
    configuration.write_policy(f"rules:\n{rules}")
    assert configuration.said() == ["10002:3: a list of more than 10000 members"]


def test_more_rules_than_ten_thousand_in_several_files_are_one_line(configuration: Configuration) -> None:
    for file in range(3):
        names = (
            f"- {{name: r{file}-{n}, match: {{path: /{file}/{n}}}, public: true}}\n" for n in range(3500)
        )
        configuration.write_policy(f"rules:\n{''.join(names)}", f"{file}.yaml")
    configuration.write_policy(ISSUER)
    assert configuration.said() == ["3002:3: more than 10000 rules"]
