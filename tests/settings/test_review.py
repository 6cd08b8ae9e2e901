"""Doubts about a policy: allowed, yet probably not meant."""

import pytest

from sidecar.settings import Problem, load
from tests.support.configuration import ISSUER, POLICY, SERVICE, Configuration
from tests.support.pki import Pki


def doubts(configuration: Configuration, *rules: str) -> list[str]:
    """Warnings about rules `r0`, `r1`, …, whose members are given; as `line: message`."""
    text = "".join(f"  - {{name: r{index}, {members}}}\n" for index, members in enumerate(rules))
    configuration.write_policy(f"{ISSUER}rules:\n{text}")
    return [
        f"{one.line}: {one.message}".replace(f"{configuration.folder}/", "")
        for one in configuration.load().warnings
    ]


NEVER = "never matches: rule `r0` (policies/policy.yaml:6) fits all of it first"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("match: {path: /a}", "match: {path: /a}"),
        ("match: {path: /a}", "match: {path: /a, methods: [GET]}"),
        ("match: {path: /a, methods: [GET, PUT]}", "match: {path: /a, methods: [GET]}"),
        ('match: {path: "/a/**"}', "match: {path: /a/b/c}"),
        ('match: {path: "/a/**"}', "match: {path: /a}"),
        ('match: {path: "/a/**"}', 'match: {path: "/a/{id}/**"}'),
        ('match: {path: "/a/{id}"}', "match: {path: /a/b}"),
        ('match: {path: "/a/{id}"}', 'match: {path: "/a/{id}:go"}'),
        ('match: {path: "/a/{id}.json"}', 'match: {path: "/a/{id}.v2.json"}'),
        ('match: {path: "/a/{id}.json"}', "match: {path: /a/b.json}"),
        ("match: {path: /a}", "match: {path: /a, host: a.com}"),
        ('match: {path: /a, host: "*.a.com"}', "match: {path: /a, host: [x.a.com, y.x.a.com]}"),
        ("match: {path: /a}", "match: {path: /a, query: {present: [x]}}"),
        ("match: {path: /a, query: {absent: [x]}}", "match: {path: /a, query: {absent: [x, y]}}"),
        ("match: {path: /a}", 'match: {path: /a, listener: "127.0.0.1:8443"}'),
    ],
)
def test_a_rule_behind_one_that_fits_all_of_it_never_matches(
    configuration: Configuration, first: str, second: str
) -> None:
    assert f"7: {NEVER}" in doubts(configuration, first, second)
    assert not any("never" in one for one in doubts(configuration, second, first) if first != second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("match: {path: /a}", "match: {path: /b}"),
        ('match: {path: "/a/{id}:go"}', 'match: {path: "/a/{id}"}'),
        ('match: {path: "/a/{id}:go"}', 'match: {path: "/a/{id}:stop"}'),
        ('match: {path: "/a/{id}:go"}', 'match: {path: "/a/:go"}'),
        ("match: {path: /a}", 'match: {path: "/a/**"}'),
        ("match: {path: /a, methods: [GET]}", "match: {path: /a, methods: [PUT]}"),
        ("match: {path: /a, host: a.com}", "match: {path: /a, host: b.com}"),
        ('match: {path: /a, host: "*.a.com"}', "match: {path: /a, host: a.com}"),
        ("match: {path: /a, query: {present: [x]}}", "match: {path: /a}"),
        ('match: {path: "/a/{id}"}', "match: {path: /a/}"),
        ('match: {path: "/a/{id}"}', 'match: {path: "/a/b/**"}'),
        ('match: {path: "/a/b/{id}"}', 'match: {path: "/a/{id}/b"}'),
    ],
)
def test_rules_that_leave_each_other_something_are_no_doubt(
    configuration: Configuration, first: str, second: str
) -> None:
    assert doubts(configuration, first, second) == []


def test_the_name_of_a_capture_makes_no_difference(configuration: Configuration) -> None:
    assert doubts(configuration, 'match: {path: "/a/*/c"}', 'match: {path: "/a/{x}/c"}') == [f"7: {NEVER}"]


def test_a_narrow_rule_behind_a_wider_one_is_a_surprise(configuration: Configuration) -> None:
    said = doubts(configuration, 'match: {path: "/a/**", methods: [GET]}', 'match: {path: "/a/admin/**"}')
    assert said == ["7: some of it (GET) goes to the wider rule `r0` (policies/policy.yaml:6) first"]


def test_a_public_rule_that_crosses_a_later_one_is_a_surprise(configuration: Configuration) -> None:
    said = doubts(
        configuration, 'match: {path: "/{any}/info"}, public: true', 'match: {path: "/accounts/{id}"}'
    )
    assert said[1:] == [
        "7: what also fits `/{any}/info` goes to the public rule `r0` (policies/policy.yaml:6) first"
    ]
    apart = doubts(
        configuration, 'match: {path: "/{any}/info"}, public: true', 'match: {path: "/accounts/{id}/x"}'
    )
    assert len(apart) == 1


def test_a_public_exception_before_a_wide_rule_is_no_surprise(configuration: Configuration) -> None:
    said = doubts(
        configuration, "match: {path: /accounts/info}, public: true", 'match: {path: "/accounts/**"}'
    )
    assert len(said) == 1
    said = doubts(
        configuration, 'match: {path: "/accounts/*"}, public: true', 'match: {path: "/accounts/{id}/**"}'
    )
    assert len(said) == 1


def test_a_wide_rule_behind_a_narrow_one_is_no_surprise(configuration: Configuration) -> None:
    assert doubts(configuration, "match: {path: /a/admin}", 'match: {path: "/a/**"}') == []


def test_open_doors_are_named(configuration: Configuration) -> None:
    assert doubts(configuration, "match: {path: /a}, public: true") == [
        "6: is public: everyone who can reach the listener passes, without a token"
    ]
    assert doubts(configuration, "match: {path: /a}, binding: not_required") == [
        "6: does not require binding: a stolen unbound token passes"
    ]
    assert doubts(configuration, "match: {}") == ["6: `/**` fits every path"]
    assert doubts(configuration, 'match: {path: "/{any}/**"}') == ["6: `/{any}/**` fits every path"]


def test_an_issuer_without_binding_is_named(configuration: Configuration) -> None:
    configuration.write_policy(POLICY.replace("rules:", "    binding: not_required\nrules:"))
    (warning,) = configuration.load().warnings
    assert (warning.line, warning.message) == (5, "does not require binding: a stolen unbound token passes")


def test_a_policy_without_issuers_is_named(configuration: Configuration) -> None:
    configuration.write_policy("rules:\n  - {name: a, match: {path: /a}}\n")
    (warning,) = configuration.load().warnings
    assert warning.message == "no issuer is configured: every token will be refused"


def test_names_of_a_certificate_are_doubted_where_nobody_vouches_for_them(
    configuration: Configuration, pki: Pki
) -> None:
    rule = "match: {path: /a}, require: {client_certificate: {san_dns: a.example.com}}"
    assert doubts(configuration, rule) == [
        "6: listener `127.0.0.1:8443` has `trust: any`: only the token's issuer vouches for names"
    ]
    (configuration.folder / "ca.crt").write_bytes(pki.client_authority.pem)
    configuration.write_service(
        SERVICE.replace("upstream", "    client_certificate: {trust: ca, ca_file: ca.crt}\nupstream", 1)
    )
    assert doubts(configuration, rule) == []


@pytest.mark.field_cases
@pytest.mark.parametrize(
    ("groups", "asked", "doubt"),
    [
        ("", "X25519MLKEM768", None),
        ("[P-256, X25519]", "[X25519MLKEM768, X25519]", None),
        ("[P-256]", "[X25519MLKEM768, X25519]", "has none of these groups: it refuses every request"),
    ],
)
def test_groups_that_a_listener_does_not_have_are_doubted(
    configuration: Configuration, groups: str, asked: str, doubt: str | None
) -> None:
    offered = f", groups: {groups}" if groups else ""
    configuration.write_service(SERVICE.replace("server.key}", f"server.key{offered}}}"))
    found = doubts(configuration, f"match: {{path: /a}}, require: {{tls: {{groups: {asked}}}}}")
    assert found == ([f"6: listener `127.0.0.1:8443` {doubt}"] if doubt else [])


def test_reviewing_thousands_of_rules_takes_no_square(configuration: Configuration) -> None:
    """4,000 rules under one prefix: their pairs alone would be 8 million."""
    configuration.write_policy(
        ISSUER
        + "rules:\n"
        + "".join(f"- {{name: r{n}, match: {{path: /api/v1/{n}}}}}\n" for n in range(4000))
    )
    assert configuration.load().warnings == ()


END = 1801353600  # 2027-01-31T00:00:00Z


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (END - 14 * 86400 - 1, []),
        (END - 14 * 86400, ["6: report only ends on 2027-01-31: from then on this is enforced"]),
        (END, ["6: report only ended on 2027-01-31: from then on this is enforced"]),
    ],
)
def test_report_only_that_ends_soon_is_a_doubt(
    configuration: Configuration, now: float, expected: list[str]
) -> None:
    configuration.write_policy(
        f"{ISSUER}rules:\n  - {{name: a, match: {{path: /a}}, report_only: {{until: 2027-01-31}}}}\n"
    )
    assert [f"{one.line}: {one.message}" for one in about_policy(configuration, now)] == expected


def about_policy(configuration: Configuration, now: float) -> list[Problem]:
    """Warnings at `now` that are not about the certificate, which does not live until then."""
    return [one for one in load(configuration.file, now=now).warnings if one.file.endswith("policy.yaml")]


def test_report_only_of_a_file_and_of_an_issuer_are_doubted_too(configuration: Configuration) -> None:
    configuration.write_policy(
        f"report_only: {{until: 2027-01-31}}\n{ISSUER}    report_only: {{until: 2027-01-30}}\n"
        "rules:\n  - {name: a, match: {path: /a}}\n"
    )
    lines = [(one.line, one.column) for one in about_policy(configuration, END)]
    assert lines == [(6, 5), (8, 5)]


# --- what an API may take for the path of a narrow rule


ADMIN = 'match: {path: "/admin"}, require: {scopes: [admin]}'
FALLS = (
    "6: `/ADMIN` or `/admin.json`, if the API treats it the same, goes to rule `r1` (policies/policy.yaml:7)"
)


@pytest.mark.field_cases
@pytest.mark.parametrize(
    "wide",
    [
        'match: {path: "/{any}"}', "match: {path: /*}, require: {scopes: [read]}",
        'match: {path: "/*"}, public: true', 'match: {path: "/*"}, require: {scopes: [admin]}, binding: not_required',
        'match: {path: "/*"}, require: {scopes: [admin]}, report_only: {until: 2099-01-01}',
    ],
)  # fmt: skip
def test_a_path_that_falls_through_to_a_rule_that_asks_for_less_is_a_doubt(
    configuration: Configuration, wide: str
) -> None:
    narrow = ADMIN + ", binding: required"
    said = doubts(configuration, narrow, wide)
    cure = ", which requires less (`ignore_case: true` is for APIs that ignore case)"
    assert [one for one in said if "requires less" in one] == [FALLS + cure]


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (ADMIN, 'match: {path: "/*"}, require: {scopes: [admin, more]}'),
        (ADMIN, 'match: {path: "/*", methods: [GET]}, require: {scopes: [admin]}'),
        (ADMIN, "match: {path: /admin, methods: [GET]}"),
        (
            'match: {path: "/admin", methods: [GET]}, require: {scopes: [admin]}',
            'match: {path: "/*", methods: [PUT]}',
        ),
        ("match: {path: /admin}, public: true", 'match: {path: "/*"}'),
        ('match: {path: "/{id}"}, require: {scopes: [admin]}', 'match: {path: "/**"}'),
        ('match: {path: "/7/{id}", ignore_case: true}, require: {scopes: [a]}', 'match: {path: "/*/*"}'),
        (
            "match: {path: /admin}, require: {scopes: [a]}, report_only: {until: 2099-01-01}",
            'match: {path: "/*"}',
        ),
    ],
)
def test_a_path_that_falls_to_no_rule_that_asks_for_less_is_no_doubt(
    configuration: Configuration, narrow: str, wide: str
) -> None:
    assert not [one for one in doubts(configuration, narrow, wide) if "requires less" in one]


@pytest.mark.field_cases
def test_with_ignore_case_only_the_suffix_is_a_doubt(configuration: Configuration) -> None:
    narrow = 'match: {path: "/a/admin", ignore_case: true}, require: {scopes: [admin]}'
    said = doubts(configuration, narrow, 'match: {path: "/a/**"}')
    falls = "goes to rule `r1` (policies/policy.yaml:7), which requires less"
    assert said == [f"6: `/a/admin.json`, if the API treats it the same, {falls}"]


def test_a_rule_without_case_is_not_hidden_by_one_with(configuration: Configuration) -> None:
    said = doubts(configuration, "match: {path: /a}", "match: {path: /a, ignore_case: true}")
    assert not any("never" in one for one in said)
    said = doubts(configuration, 'match: {path: "/*"}', "match: {path: /a, ignore_case: true}")
    assert any("never" in one for one in said)
