"""A whole configuration, good and bad."""

from pathlib import Path

import pytest

from sidecar.settings import SettingsError, load


def test_the_shipped_configuration_is_good(installed: Path) -> None:
    loaded = load(installed)
    assert [rule.name for rule in loaded.policy.rules] == [
        "initiate-payment",
        "approve-payment",
        "health",
        "read-accounts",
        "write-accounts",
    ]
    assert loaded.proxy.listeners[0].port == 8443
    assert [warning.message.split(":")[0] for warning in loaded.warnings] == ["is public"]
    assert loaded.files[0] == installed


def test_an_absent_key_is_a_problem_to_a_process_that_is_to_run(shipped: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(shipped)
    assert [problem.line for problem in caught.value.problems] == [6, 7]


def test_an_absent_key_is_a_warning_where_secrets_are_not_at_hand(shipped: Path) -> None:
    loaded = load(shipped, absent_files_pass=True)
    absent = [warning for warning in loaded.warnings if "does not exist" in warning.message]
    assert [warning.line for warning in absent] == [6, 7]
    assert all(warning.is_warning for warning in loaded.warnings)
