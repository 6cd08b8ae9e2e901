"""`profile: fapi2`: what the FAPI 2.0 Security Profile asks of a resource server, in one word."""

import json
from pathlib import Path

import pytest

from sidecar.command.cli import main
from sidecar.decision.policy import Binding
from tests.support.configuration import Configuration
from tests.support.pki import Pki

POLICY = """\
issuers:
  - issuer: https://as.example.com
    audience: https://api.example.com
    keys: {{discovery: true}}
    profile: fapi2
    {issuer}
rules:
  - name: one
    match: {{path: /accounts}}
    {rule}
"""


@pytest.fixture
def configuration(tmp_path: Path, pki: Pki) -> Configuration:
    return Configuration.create(tmp_path, pki)


def write(configuration: Configuration, issuer: str = "", rule: str = "") -> None:
    configuration.write_policy(POLICY.format(issuer=issuer, rule=rule))


@pytest.mark.field_cases
@pytest.mark.parametrize(
    "issuer", ["", "algorithms: [PS256]", "binding: required", "clock_skew: 10s", "clock_skew: 60s"]
)
def test_the_profile_sets_algorithms_and_binding(configuration: Configuration, issuer: str) -> None:
    write(configuration, issuer)
    (found,) = configuration.load().policy.issuers.values()
    assert found.algorithms == ({"PS256"} if "PS256" in issuer else {"PS256", "ES256", "EdDSA"})
    assert found.binding is Binding.REQUIRED
    assert 10 <= found.clock_skew <= 60


@pytest.mark.field_cases
@pytest.mark.parametrize(
    ("issuer", "rule", "problem"),
    [
        (
            "algorithms: [PS256, RS256]",
            "",
            "6:5: `profile: fapi2` allows only PS256, ES256 and EdDSA, not RS256",
        ),
        ("binding: if_bound", "", "6:14: `profile: fapi2` needs bound tokens, `if_bound` accepts others"),
        ("clock_skew: 5s", "", "6:17: `profile: fapi2` needs 10s to 60s"),
        ("clock_skew: 2m", "", "6:17: `profile: fapi2` needs 10s to 60s"),
        (
            "insecure_audience_missing: true",
            "",
            "6:32: `profile: fapi2` needs tokens with an audience",
        ),
        (
            "",
            "binding: if_bound",
            "10:14: the profile of `https://as.example.com` needs bound tokens: use other `issuers`",
        ),
    ],
)
def test_what_takes_the_profile_back_is_a_mistake(
    configuration: Configuration, issuer: str, rule: str, problem: str
) -> None:
    write(configuration, issuer, rule)
    (said,) = configuration.said()
    assert said.partition(" ")[2] == problem.partition(" ")[2]


def test_a_public_rule_and_one_for_other_issuers_are_free(configuration: Configuration) -> None:
    other = "  - issuer: https://b.example\n    audience: b\n    keys: {discovery: true}\nrules:\n"
    text = POLICY.format(issuer="", rule='issuers: ["https://b.example"]')
    text = text.replace("    issuers: [", "    require: {issuers: [").replace('example"]\n', 'example"]}\n')
    configuration.write_policy(text.replace("rules:\n", other) + "    binding: if_bound\n")
    assert configuration.said() == []


@pytest.mark.field_cases
def test_check_explains_what_the_profile_set(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    write(configuration)
    assert main(["check", "--config", str(configuration.file), "--explain"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "https://as.example.com: profile fapi2"
    assert said[1] == "  algorithms ES256 EdDSA PS256: FAPI 2.0 Security Profile §5.4.1"
    assert said[-1].startswith("  revocation status is not asked for")
    assert main(["check", "--config", str(configuration.file), "--explain", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["profiles"]["https://as.example.com"]
    assert [told[0], *(f"  {line}" for line in told[1:])] == ["fapi2", *said[1:]]
    configuration.write_policy("issuers: []\nrules: []\n")
    main(["check", "--config", str(configuration.file), "--explain"])
    assert "profile" not in capsys.readouterr().out
