"""A whole configuration, good and bad."""

from pathlib import Path

import pytest

from sidecar.settings import SettingsError, load

EXAMPLE = Path(__file__).parents[2] / "config" / "sidecar.yaml"


def test_the_shipped_configuration_is_good_but_for_the_key_that_is_not_shipped() -> None:
    loaded = load(EXAMPLE, absent_files_pass=True)
    assert [rule.name for rule in loaded.policy.rules] == ["health", "read-accounts", "write-accounts"]
    assert loaded.proxy.listeners[0].port == 8443
    assert [warning.line for warning in loaded.warnings] == [6, 7]


def test_an_absent_key_is_a_problem_to_a_process_that_is_to_run() -> None:
    with pytest.raises(SettingsError) as caught:
        load(EXAMPLE)
    assert [problem.line for problem in caught.value.problems] == [6, 7]
