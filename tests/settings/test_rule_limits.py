"""The limits of a rule: what they become, each mistake at its place, and what is doubtful beside the service's."""

import pytest

from sidecar.decision.policy import RuleLimits
from sidecar.settings.rule_limits import RuleLimitsSection as Limits
from sidecar.settings.service_sections import LimitsSection, TimeoutsSection, Upstream
from tests.support.configuration import SERVICE, Configuration


def limits(configuration: Configuration, text: str) -> RuleLimits | None:
    configuration.write_rule(f"match: {{path: /a}}\n    limits: {text}")
    (rule,) = configuration.load().policy.rules
    return rule.limits


def mistakes(configuration: Configuration, text: str) -> list[str]:
    configuration.write_rule(f"match: {{path: /a}}\n    limits: {text}")
    return configuration.said()


def doubts(configuration: Configuration, text: str, service: str = "") -> list[str]:
    configuration.write_service(SERVICE + service)
    configuration.write_rule(f"match: {{path: /a}}\n    limits: {text}")
    warnings = configuration.load().warnings
    return [f"{one.line}:{one.column}: {one.message}" for one in warnings]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{body_bytes: 1MiB}", RuleLimits(body_bytes=1 << 20)),
        ("{body_bytes: 0}", RuleLimits(body_bytes=0)),
        ("{response_timeout: 10m}", RuleLimits(response_timeout=600.0)),
        ("{stream_timeout: 0s}", RuleLimits(stream_timeout=0.0)),
        ("{total_timeout: 500ms}", RuleLimits(total_timeout=0.5)),
        ("{total_timeout: 0s, response_timeout: 1h}", RuleLimits(None, 3600.0, None, 0.0)),
        ("{concurrent_requests: 4}", RuleLimits(concurrent_requests=4)),
    ],
)
def test_a_rule_has_the_limits_it_says_and_no_others(
    configuration: Configuration, text: str, expected: RuleLimits
) -> None:
    assert limits(configuration, text) == expected


def test_a_rule_that_says_nothing_has_no_limits_of_its_own(configuration: Configuration) -> None:
    (rule,) = configuration.load().policy.rules
    assert rule.limits is None


def test_a_public_rule_may_have_limits(configuration: Configuration) -> None:
    configuration.write_rule("match: {path: /a}\n    public: true\n    limits: {concurrent_requests: 1}")
    (rule,) = configuration.load().policy.rules
    assert rule.limits == RuleLimits(concurrent_requests=1)


EARLY = "counts before the rule is known: it bounds every request, under `{}` in the service file"
SILENCE = (
    "is the time that an unused connection to the upstream is kept, under `upstream` in the service file;"
    " the time that a body or a tunnel may be silent is `stream_timeout`"
)
SHARED = "bounds the whole service, not a rule: it is set under `{}` in the service file"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "8:13: limits nothing: leave it out, or add a limit"),
        ("5MiB", "8:13: expected a mapping of keys to values, got `5MiB`"),
        ("{body_bytes: 10MB}", "8:26: a size is a number of bytes or has a unit: 512B, 32KiB, 10MiB, 1GiB"),
        ("{response_timeout: 0s}", "8:32: must be more than 0s"),
        ("{stream_timeout: 300}", "8:30: a duration needs a unit: 300s? (ms, s, m, h, d)"),
        ("{concurrent_requests: 0}", "8:35: input should be greater than or equal to 1, got 0"),
        ("{concurrent_requests: '4'}", "8:35: expected a whole number, got `4`: take the quotes off"),
        (
            "{total_timeout: 5s, response_timeout: 10s}",
            "8:33: is never reached: `total_timeout` is shorter",
        ),
        ("{body: 1}", "8:14: unknown key `body`; did you mean `body_bytes`?"),
        (
            "{concurent_requests: 5}",
            "8:14: unknown key `concurent_requests`; did you mean `concurrent_requests`?",
        ),
        ("{body_bytes: 1KiB, header_bytes: 1KiB}", "8:32: `header_bytes` " + EARLY.format("limits")),
        ("{headers: 10}", "8:14: `headers` " + EARLY.format("limits")),
        ("{target_bytes: 1KiB}", "8:14: `target_bytes` " + EARLY.format("limits")),
        ("{request_head: 1s}", "8:14: `request_head` " + EARLY.format("timeouts")),
        ("{connections: 10}", "8:14: `connections` " + SHARED.format("limits")),
        ("{idle: 10s}", "8:14: `idle` " + SHARED.format("timeouts")),
        ("{max_connections: 10}", "8:14: `max_connections` " + SHARED.format("upstream")),
        (
            "{idle_timeout: 5m}",
            "8:14: `idle_timeout` " + SILENCE,
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named_at_its_place(configuration: Configuration, text: str, expected: str) -> None:
    assert mistakes(configuration, text) == [expected]


def test_all_mistakes_are_named_at_once(configuration: Configuration) -> None:
    said = mistakes(configuration, "{body_bytes: x, headers: 1, concurrent_requests: 0, nonsense: 1}")
    assert [one.split(":")[1] for one in said] == ["26", "29", "62", "65"]


def test_every_bound_of_the_service_stands_in_a_rule_or_is_said_to_belong_elsewhere() -> None:
    bounds = {*LimitsSection.model_fields, *TimeoutsSection.model_fields}
    timeouts = {
        name for name in Upstream.model_fields if name.endswith("_timeout") or name.startswith("max_")
    }
    own = set(Limits.model_fields)
    assert bounds | timeouts <= own | set(Limits.elsewhere)
    assert own.isdisjoint(Limits.elsewhere)


@pytest.mark.parametrize(("workers", "most"), [("4", "40"), ("auto", "that many times 10")])
def test_places_that_count_in_each_worker_are_a_doubt(
    configuration: Configuration, workers: str, most: str
) -> None:
    assert doubts(configuration, "{concurrent_requests: 10}", f"workers: {workers}\n") == [
        f"8:14: counts in each worker: with `workers: {workers}` the upstream may get {most} at a time"
    ]


@pytest.mark.parametrize(
    ("text", "service"),
    [
        ("{concurrent_requests: 10}", ""),
        ("{concurrent_requests: 10}", "workers: 1\n"),
        ("{body_bytes: 1KiB}", "workers: 4\n"),
    ],
)
def test_places_of_one_worker_are_no_doubt(configuration: Configuration, text: str, service: str) -> None:
    assert doubts(configuration, text, service) == []


@pytest.mark.parametrize(
    ("text", "is_doubtful"),
    [
        ("{response_timeout: 10m}", True),
        ("{response_timeout: 30s}", False),
        ("{response_timeout: 10m, total_timeout: 15m}", False),
        ("{response_timeout: 10m, total_timeout: 0s}", False),
        ("{body_bytes: 1KiB}", False),
    ],
)
def test_a_response_deadline_past_the_services_total_is_a_doubt(
    configuration: Configuration, text: str, *, is_doubtful: bool
) -> None:
    configuration.write_rule(f"match: {{path: /a}}\n    limits: {text}")
    configuration.write_service(SERVICE.replace('8080"}', '8080", total_timeout: 60s}'))
    message = "8:14: is never reached: the service's `total_timeout` of 60s is shorter; set one here too"
    warnings = configuration.load().warnings
    assert [f"{one.line}:{one.column}: {one.message}" for one in warnings] == [message] * is_doubtful
