"""What `check --upgrading-from` says of a configuration, and that the documentation says it, too."""

import re
from pathlib import Path

import pytest

from sidecar.settings import load
from sidecar.settings.upgrading import CHANGES, changes
from tests.support.configuration import ISSUER, Configuration

PAGE = (Path(__file__).parents[2] / "docs" / "upgrading.md").read_text("utf-8")


def names(configuration: Configuration) -> set[str]:
    return {change.name for change in changes(load(configuration.file), "0.1")}


def test_every_change_has_its_section_and_every_section_its_change() -> None:
    for since, listed in CHANGES.items():
        section = PAGE.partition(f"## From {since}\n")[2].partition("\n## ")[0]
        documented = re.findall(r"^### ([a-z-]+)$", section, re.MULTILINE)
        assert documented == [change.name for change in listed]


def test_a_plain_configuration_hears_what_concerns_everybody(configuration: Configuration) -> None:
    assert names(configuration) == {
        "claimed-identity",
        "method-override",
        "host",
        "redirects",
        "idle-upstream",
        "session-lifetime",
        "writable-files",
    }


@pytest.mark.parametrize(
    ("before", "after", "name", "expected"),
    [
        ("upstream:", "admin: {address: 127.0.0.1:9901}\nupstream:", "admin-token", True),
        ("upstream:", "admin: {address: unix:///tmp/a.sock}\nupstream:", "admin-token", False),
        ("http://127.0.0.1:8080", "https://127.0.0.1:8080", "upstream-trust", True),
        ("server.key}", "server.key}\n    forwarded_from: [10.0.0.0/8]", "claimed-identity", False),
        ("server.key}", "server.key, session_lifetime: 0s}", "session-lifetime", False),
    ],
)
def test_a_change_is_told_where_it_concerns(
    configuration: Configuration, before: str, after: str, name: str, *, expected: bool
) -> None:
    configuration.write_service(configuration.file.read_text().replace(before, after))
    assert (name in names(configuration)) is expected


def test_rules_without_methods_do_not_mind_an_override(configuration: Configuration) -> None:
    configuration.write_rule("match: {path: /accounts}")
    assert "method-override" not in names(configuration)


def test_an_issuer_that_is_always_asked_is_told_of_its_answer(configuration: Configuration) -> None:
    secret = "{method: client_secret_basic, client_secret_file: s}"
    answer = f"{{when: always, client_id: api, client_authentication: {secret}}}"
    (configuration.folder / "policies" / "s").write_text("secret")
    (configuration.folder / "policies" / "s").chmod(0o600)
    asking = ISSUER.replace("    keys:", f"    introspection: {answer}\n    keys:")
    configuration.write_policy(asking + "rules:\n  - name: read\n    match: {path: /a}\n")
    assert "introspection-answer" in names(configuration)


def test_lists_of_revoked_certificates_are_told_of(configuration: Configuration) -> None:
    loaded = load(configuration.file)
    assert "revocation" not in {change.name for change in changes(loaded, "0.1")}


@pytest.mark.parametrize(
    ("schemes", "rule", "expected"),
    [
        ("[Bearer, DPoP]", "", True),
        ("[Bearer, DPoP]", "binding: required", True),
        ("[Bearer]", "binding: required", False),
        ("[Bearer, DPoP]", "binding: if_bound", False),
        ("[Bearer, DPoP]", "public: true", False),
        ("[Bearer, DPoP]", 'require: {confirmation: ["x5t#S256"]}', False),
    ],
)
def test_rule_that_was_written_for_certificates_is_told_that_a_key_satisfies_it(
    configuration: Configuration, schemes: str, rule: str, *, expected: bool
) -> None:
    origins = "protected_resource: {resource: https://api.example.com, origins: [https://api.example.com]}\n"
    configuration.write_service(configuration.file.read_text() + origins)
    issuer = ISSUER.replace("    keys:", f"    schemes: {schemes}\n    keys:")
    said = f"    {rule}\n" if rule else ""
    configuration.write_policy(issuer + "rules:\n  - name: read\n    match: {path: /a}\n" + said)
    assert ("binding-by-key" in names(configuration)) is expected


@pytest.mark.parametrize(("issuer", "expected"), [("keys", True), ("certificates", False)])
def test_rule_hears_of_keys_only_if_one_of_its_own_issuers_binds_to_them(
    configuration: Configuration, issuer: str, *, expected: bool
) -> None:
    origins = "protected_resource: {resource: https://api.example.com, origins: [https://api.example.com]}\n"
    configuration.write_service(configuration.file.read_text() + origins)
    other = ISSUER.partition("issuers:\n")[2].replace("issuer: https://", "issuer: https://keys.")
    both = ISSUER + other.replace("    keys:", "    schemes: [Bearer, DPoP]\n    keys:")
    name = re.findall(r"issuer: (\S+)", both)[issuer == "keys"]
    rule = f"  - name: read\n    match: {{path: /a}}\n    require: {{issuers: [{name}]}}\n"
    configuration.write_policy(f"{both}rules:\n{rule}")
    assert ("binding-by-key" in names(configuration)) is expected
