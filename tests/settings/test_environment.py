"""Documents in the environment: what the injector writes, and nobody can change in a running Pod."""

from pathlib import Path

import pytest

from sidecar.settings import SettingsError, load
from tests.support.configuration import Configuration

RULES = "rules: [{name: probe, match: {methods: [GET], path: /healthz}, public: true}]\n"


def test_a_service_file_and_rules_come_from_variables(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = configuration.folder
    text = configuration.file.read_text()
    text = text.replace("server.", f"{folder}/server.").replace(
        "policies/*", f"env:RULES, {folder}/policies/*"
    )
    monkeypatch.setenv("SERVICE", text)
    monkeypatch.setenv("RULES", RULES)
    loaded = load(Path("env:SERVICE"))
    assert [rule.name for rule in loaded.policy.rules] == ["probe", "read"]
    assert not [one for one in loaded.files if str(one).startswith("env:")]
    assert loaded.policy_patterns == (f"{folder}/policies/*.yaml",)


def test_a_variable_that_is_not_there_is_named(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ABSENT", raising=False)
    with pytest.raises(
        SettingsError, match="env:ABSENT:0:0: there is no environment variable with this name"
    ):
        load(Path("env:ABSENT"))
    configuration.write_service(configuration.file.read_text().replace("policies/*.yaml", "env:ABSENT"))
    assert "0:0: there is no environment variable with this name" in configuration.said()


def test_a_mistake_in_a_variable_is_named_by_line_and_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE", "listeners: [\n")
    with pytest.raises(SettingsError, match=r"env:SERVICE:2:1: "):
        load(Path("env:SERVICE"))


def test_the_wildcard_needs_a_port_of_its_own(configuration: Configuration) -> None:
    service = configuration.file.read_text().replace("127.0.0.1:8443", '"*:0"')
    configuration.write_service(service)
    assert configuration.said() == ["2:14: *:0 could be two different ports of IPv4 and IPv6: give a port"]
