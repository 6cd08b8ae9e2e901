"""`sidecar schema`: what it prints is what the models say."""

import json

import pytest

from sidecar.command.cli import main
from sidecar.settings.schema import MODELS, schema


@pytest.mark.parametrize("kind", MODELS)
def test_the_schema_of_each_kind_is_printed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    assert json.loads(capsys.readouterr().out) == schema(kind)


def test_without_a_kind_it_is_the_service_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema("service")


def test_an_unknown_kind_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["schema", "nonsense"])
    assert caught.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
