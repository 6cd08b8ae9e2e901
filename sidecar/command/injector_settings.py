"""The injector's settings file: read once at start by the command and the webhook."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from sidecar.injection.service_file import CLIENTS_DIRECTORY
from sidecar.injection.settings import InjectionSettings
from sidecar.settings import document as documents
from sidecar.settings.authorization_server import unbindable
from sidecar.settings.authorization_server_sections import AuthorizationServerSection
from sidecar.settings.problem import Problem, SettingsError, shown
from sidecar.settings.section import Surroundings, validate

OPTIONS = "command line"
_SERVER: Final = ("authorization_server", "settings")
_FILES: Final = (("clients_ca_file",), ("hand_over", "extra_headers_file"))
"""Keys of `_SERVER` that name files of the Pod."""
_MOUNTS: Final = "/etc/sidecar/"
_NOWHERE: Final = "/nonexistent/file"


def injection_settings(file: str | None, options: Mapping[str, Any]) -> InjectionSettings:
    """The settings in `file`, if one is named, with `options` over them.

    Raises `SettingsError` with everything that is wrong, each at its line and column.
    """
    document = documents.read(Path(file)) if file else documents.parse(OPTIONS, b"{}")
    problems = list(document.problems)
    if not isinstance(document.data, dict):
        raise SettingsError([document.problem((), "expected a mapping of settings"), *problems])
    problems += _server_problems(document, _at(document.data, _SERVER))
    try:
        settings = InjectionSettings.model_validate({**document.data, **options})
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        problems += [_problem(document, one["loc"], one["msg"]) for one in found]
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _server_problems(document: documents.Document, given: Any) -> Iterator[Problem]:
    """What the service file of a Pod must not say of an authorization server. The files that it names are the Pod's:
    none of this machine is looked into.
    """
    if not isinstance(given, dict):
        return  # said by the injector's own model
    data = json.loads(json.dumps(given).replace("{name}", "name"))
    for *above, key in _FILES:
        section = _at(data, above)
        name = section.get(key) if isinstance(section, dict) else None
        if not isinstance(name, str):
            continue
        section[key] = _NOWHERE
        if not name.startswith(_MOUNTS):
            message = f"{shown(name)} is not in the Pod: the files of the Secret are {CLIENTS_DIRECTORY}/…"
            yield document.problem((*_SERVER, *above, key), message)
    whole = {**data, "client_files": [f"{CLIENTS_DIRECTORY}/*.yaml"]}
    around = Surroundings(Path(CLIENTS_DIRECTORY), absent_files_pass=True)
    server, problems = validate(AuthorizationServerSection, document, _SERVER, whole, around)
    yield from (one for one in problems if not one.is_warning)
    if server is not None:
        yield from unbindable(document, _SERVER, server)


def _at(data: Any, path: Sequence[str]) -> Any:
    """The value at the keys of `path`; None if one is missing."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _problem(document: documents.Document, path: tuple[int | str, ...], message: str) -> Problem:
    name = ".".join(str(step) for step in path)
    return document.problem(path, f"{name}: {message}" if name else message)
