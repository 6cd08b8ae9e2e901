"""Rules for calls of gRPC: what each word becomes, which calls fit, and what is said where none can come through."""

import pytest

from sidecar.decision.denial import Denied
from sidecar.settings.pattern_review import meet, takes_all
from tests.settings.test_policies import rule
from tests.settings.test_review import doubts
from tests.support.configuration import ISSUER, SERVICE, Configuration
from tests.support.world import head

SPOKEN = SERVICE.replace("8443\n", "8443\n    protocols: [h2]\n").replace('8080"}', '8080", protocol: h2}')
"""h2 on both sides."""
ANYWHERE = "bank.v1.Accounts"
UNSPOKEN = (
    "the API is called in HTTP/1.1, which has no gRPC: calls get UNIMPLEMENTED (12)."
    " If the API speaks HTTP/2, set `upstream: {protocol: h2}`"
)


def fits(configuration: Configuration, grpc: str, path: str, method: str = "POST") -> bool:
    """Whether a rule with this `match` is the one of a request."""
    configuration.write_rule(f"match: {{{grpc}}}\n    public: true")
    found = configuration.load().policy.matcher.first(head(method=method, target=path))
    return found is not None


@pytest.mark.parametrize(
    ("grpc", "calls", "others"),
    [
        (
            "grpc: {service: bank.v1.Accounts, method: Get}",
            ["/bank.v1.Accounts/Get"],
            [
                "/bank.v1.Accounts/List", "/bank.v1.Accounts/get", "/bank.v1.accounts/Get", "/bank.v1.Accounts/Get/",
                "/bank.v1.Accounts", "/bank.v1.Accounts/Get/x", "/v1/bank.v1.Accounts/Get", "/bank.v1.Accounts/GetX",
                "/bank/v1/Accounts/Get", "/bank.v1.Accounts/", "/bank-v1-Accounts/Get",
            ],
        ),
        (
            "grpc: {service: bank.v1.Accounts}",
            ["/bank.v1.Accounts/Get", "/bank.v1.Accounts/x"],
            ["/bank.v1.Accounts/", "/bank.v1.Accounts/Get/x", "/bank.v1.Accounts2/Get"],
        ),
        (
            "grpc: {service: 'bank.v1.*'}",
            ["/bank.v1.Accounts/Get", "/bank.v1.Cards/Get"],
            ["/bank.v1/Get", "/bank.v1.a.Cards/Get", "/bank.v2.Cards/Get", "/bank.v1./Get", "/other/bank.v1.Cards"],
        ),
        ("grpc: {service: 'bank.**'}", ["/bank.v1.Cards/Get", "/bank.Cards/Get"], ["/bank/Get", "/banks.Cards/Get"]),
        ("grpc: {service: 'bank.*.Cards'}", ["/bank.v1.Cards/Get"], ["/bank.Cards/Get", "/bank.v1.a.Cards/Get"]),
        ("grpc: {service: '*'}", ["/Plain/Get"], ["/bank.Cards/Get"]),
        ("grpc: {service: '**'}", ["/Plain/Get", "/bank.Cards/Get"], ["/Plain", "/Plain/a/b"]),
        (
            "grpc: {service: bank.Cards, method: 'Get*'}",
            ["/bank.Cards/GetCard", "/bank.Cards/GetAll"],
            ["/bank.Cards/Get", "/bank.Cards/List", "/bank.Cards/getCard"],
        ),
        ("grpc: {service: bank.Cards, method: '*'}", ["/bank.Cards/Get"], ["/bank.Cards/"]),
        (
            "grpc: {service: bank.Cards, method: 'Get*'}, ignore_case: true",
            ["/bank.cards/getcard", "/BANK.CARDS/GETCARD"],
            ["/bank.cards/list"],
        ),
        ("grpc: {service: 'Bank.*'}, ignore_case: true", ["/bank.cards/x"], ["/bank.v1.cards/x"]),
    ],
)  # fmt: skip
def test_calls_fit_by_the_names_of_service_and_method(
    configuration: Configuration, grpc: str, calls: list[str], others: list[str]
) -> None:
    assert [path for path in calls if not fits(configuration, grpc, path)] == []
    assert [path for path in others if fits(configuration, grpc, path)] == []


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "post"])
def test_a_call_is_a_post(configuration: Configuration, method: str) -> None:
    assert not fits(configuration, f"grpc: {{service: {ANYWHERE}}}", f"/{ANYWHERE}/Get", method)


@pytest.mark.parametrize(
    "path", ["/bank.v1.Accounts/%47et", "/bank.v1.Accounts/;a/Get", "/bank.v1.Accounts//Get"]
)
def test_a_call_whose_path_can_be_read_in_two_ways_is_refused(
    configuration: Configuration, path: str
) -> None:
    with pytest.raises(Denied, match="path_ambiguous"):
        fits(configuration, f"grpc: {{service: {ANYWHERE}}}", path)


def test_what_a_match_of_calls_becomes(configuration: Configuration) -> None:
    match = rule(
        configuration, "match: {grpc: {service: 'bank.*', method: Get}, host: api.example.com}"
    ).match
    assert (match.path, match.patterns) == ("/*/Get", ((0, "bank.*"),))
    assert match.methods == {"POST"}
    assert match.is_grpc
    assert match.hosts == {"api.example.com"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("match: {grpc: {service: a.B}, path: /a.B/c}", "7:35: contradicts `grpc`: the path of a call is"),
        (
            "match: {grpc: {service: a.B}, methods: [POST]}",
            "7:35: contradicts `grpc`: every call is a POST; a gRPC method is named by `grpc: {method: …}`",
        ),
        ("match: {grpc: {service: a.B}, query: {present: [x]}}", "7:35: contradicts `grpc`: a call has no query"),
        ("match: {grpc: {service: /a.B}}", "7:29: `/a.B` is not the full name of a service: bank.v1.Accounts"),
        ("match: {grpc: {service: a.B/c}}", "7:29: `a.B/c` is not the full name of a service"),
        ("match: {grpc: {service: a..B}}", "7:29: `a..B` is not the full name of a service"),
        ("match: {grpc: {service: 'a.***'}}", "7:29: `a.***` is not the full name of a service"),
        ("match: {grpc: {service: a.B, method: a.B/c}}", "7:42: `a.B/c` is not the name of a method without"),
        ("match: {grpc: {service: a.B, method: '**'}}", "7:42: `**` is not the name of a method"),
        ("match: {grpc: {method: c}}", "7:13: missing key `service`"),
        ("match: {grpc: {service: a.B, methods: [c]}}", "unknown"),
        (
            "match: {grpc: {service: a.B}}\n    cors_preflight: true",
            "8:5: has no effect: a preflight is not a gRPC call",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_said_at_its_place(configuration: Configuration, text: str, message: str) -> None:
    configuration.write_rule(text)
    assert any(message in one for one in configuration.said()), configuration.said()


def test_who_asks_in_http_1_and_who_cannot_be_asked_is_warned(configuration: Configuration) -> None:
    found = doubts(configuration, f"match: {{grpc: {{service: {ANYWHERE}}}}}")
    assert found == [
        "6: no gRPC call can arrive at `127.0.0.1:8443`: they need `protocols: [h2]`",
        f"6: {UNSPOKEN}",
    ]
    configuration.write_service(SPOKEN)
    assert doubts(configuration, f"match: {{grpc: {{service: {ANYWHERE}}}}}") == []
    assert doubts(configuration, "match: {path: /a}") == []


def test_a_listener_that_speaks_http_1_is_named_by_a_rule_of_its_own(configuration: Configuration) -> None:
    tls = "{certificate_file: server.crt, private_key_file: server.key}"
    other = f"  - {{address: '127.0.0.1:8444', name: old, tls: {tls}}}\n"
    configuration.write_service(SPOKEN.replace("upstream:", f"{other}upstream:"))
    assert doubts(configuration, f"match: {{grpc: {{service: {ANYWHERE}}}}}") == []
    (found,) = doubts(configuration, f"match: {{grpc: {{service: {ANYWHERE}}}, listener: old}}")
    assert "no gRPC call can arrive at `old`" in found


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("service: bank.Cards", "service: bank.Cards"),
        ("service: bank.Cards", "service: bank.Cards, method: Get"),
        ("service: 'bank.*'", "service: bank.Cards"),
        ("service: 'bank.**'", "service: 'bank.v1.*'"),
        ("service: '**'", "service: 'bank.*', method: 'Get*'"),
        ("service: bank.Cards, method: 'G*'", "service: bank.Cards, method: Get"),
    ],
)
def test_a_rule_behind_one_that_fits_all_its_calls_never_matches(
    configuration: Configuration, first: str, second: str
) -> None:
    configuration.write_service(SPOKEN)
    never = "7: never matches: rule `r0` (policies/policy.yaml:6) fits all of it first"
    rules = [f"match: {{grpc: {{{names}}}}}" for names in (first, second)]
    assert never in doubts(configuration, *rules)
    if first != second:
        assert not any("never" in one for one in doubts(configuration, *reversed(rules)))


def test_a_wider_rule_of_calls_in_front_is_told_and_one_of_other_services_is_not(
    configuration: Configuration,
) -> None:
    configuration.write_service(SPOKEN)
    wide, calls = "match: {grpc: {service: 'bank.C*'}}", "match: {grpc: {service: 'bank.*', method: Get}}"
    (found,) = doubts(configuration, wide, calls)
    assert "7: some of it (POST) goes to the wider rule `r0`" in found
    other = "match: {grpc: {service: 'shop.*'}}"
    assert doubts(configuration, other, calls) == []


def test_a_call_has_no_format_at_its_end_but_another_case_where_the_api_ignores_that(
    configuration: Configuration,
) -> None:
    configuration.write_service(SPOKEN)
    narrow = "match: {grpc: {service: bank.Cards, method: Close}}, require: {scopes: [admin]}"
    (found,) = doubts(configuration, narrow, "match: {grpc: {service: '**'}}")
    assert "`/bank.Cards/cLOSE`, if the API treats it the same" in found
    assert ".json" not in found


@pytest.mark.parametrize(
    ("one", "other", "takes", "meets"),
    [
        ("bank.*", "bank.Admin", True, True),
        ("bank.*", "bank.v1.Admin", False, False),
        ("bank.**", "bank.*", True, True),
        ("bank.*", "bank.**", False, True),
        ("bank.A*", "bank.*", False, True),
        ("bank.A*", "bank.B*", False, False),
        ("bank.*n", "bank.A*", False, True),
        ("*.Cards", "bank.*", False, True),
        ("*.Cards", "bank.v1.*", False, False),
        ("**.Cards", "bank.v1.*", False, True),
        ("*", "a.b", False, False),
        ("**", "a.b", True, True),
        ("a*b", "ab", False, False),
        ("a*b", "a*b", True, True),
    ],
)
def test_what_two_patterns_have_in_common(one: str, other: str, takes: bool, meets: bool) -> None:
    assert takes_all(one, other) is takes
    assert meet(one, other) is meets
    assert meet(other, one) is meets


def test_the_names_of_reflection_and_health_are_services_like_any(configuration: Configuration) -> None:
    configuration.write_service(SPOKEN)
    configuration.write_policy(
        ISSUER
        + """\
rules:
  - {name: health, match: {grpc: {service: grpc.health.v1.Health}}, public: true}
  - {name: reflection, match: {grpc: {service: "grpc.reflection.*.ServerReflection"}}, require: {scopes: [developer]}}
"""
    )
    matcher = configuration.load().policy.matcher
    for path, index in (
        ("/grpc.health.v1.Health/Check", 0),
        ("/grpc.health.v1.Health/Watch", 0),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", 1),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", 1),
    ):
        found = matcher.first(head(method="POST", target=path))
        assert found is not None
        assert found[0] == index
