"""The injector's settings file: read once at start by the command and the webhook."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sidecar.injection.settings import InjectionSettings
from sidecar.settings import document as documents
from sidecar.settings.problem import Problem, SettingsError

OPTIONS = "command line"


def injection_settings(file: str | None, options: Mapping[str, Any]) -> InjectionSettings:
    """The settings in `file`, if one is named, with `options` over them.

    Raises `SettingsError` with everything that is wrong, each at its line and column.
    """
    document = documents.read(Path(file)) if file else documents.parse(OPTIONS, b"{}")
    problems = list(document.problems)
    if not isinstance(document.data, dict):
        raise SettingsError([document.problem((), "expected a mapping of settings"), *problems])
    try:
        settings = InjectionSettings.model_validate({**document.data, **options})
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        problems += [_problem(document, one["loc"], one["msg"]) for one in found]
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _problem(document: documents.Document, path: tuple[int | str, ...], message: str) -> Problem:
    name = ".".join(str(step) for step in path)
    return document.problem(path, f"{name}: {message}" if name else message)
