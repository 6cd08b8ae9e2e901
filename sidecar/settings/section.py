"""What every section of a settings file has in common, and how its errors find their line."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from sidecar.settings.document import Document
from sidecar.settings.problem import Problem, sanitize, shown

FILE_ABSENT: Final = "file_absent"
"""The type of the one error that `sidecar check` may turn into a warning."""


class Section(BaseModel):
    """A mapping whose keys are all known; types are not converted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    elsewhere: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Keys that a user might expect in this section but that are elsewhere → what to do."""

    def given(self) -> dict[str, Any]:
        """The values of the file by field, without fields that it leaves out."""
        return {
            name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }

    @classmethod
    def inner_sections(cls) -> "Iterator[type[Section]]":
        """The sections that fields of this one hold."""
        for field in cls.model_fields.values():
            yield from _inside(field.annotation)


SectionType = TypeVar("SectionType", bound=Section)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What validation needs to know beyond the text."""

    directory: Path
    """The file's directory: what its relative paths are relative to."""
    absent_files_pass: bool = False


def mistake(message: str, at: str | None = None) -> PydanticCustomError:
    """An error to raise in a validator; `at` names the key of the section that it is about."""
    return PydanticCustomError("mistake", "{message}", {"message": message, "at": at or ""})


def validate(
    model: type[SectionType], document: Document, at: Sequence[str | int], data: Any, around: Surroundings
) -> tuple[SectionType | None, list[Problem]]:
    """The section at path `at` of the document, and all that is wrong with it."""
    try:
        return model.model_validate(data, context=Surroundings(around.directory)), []
    except ValidationError as error:
        found = _one_each(model, error.errors(include_url=False))
    problems = [
        replace(problem, is_warning=around.absent_files_pass and one["type"] == FILE_ABSENT)
        for one in found
        for problem in _problem(model, document, at, one)
    ]
    if not around.absent_files_pass or any(one["type"] != FILE_ABSENT for one in found):
        return None, problems
    return model.model_validate(data, context=around), problems


def _one_each(model: type[Section], errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """One error per mistake: a misspelt key is not also reported as missing."""
    meant = {
        (*error["loc"][:-1], *near(str(error["loc"][-1]), _keys_at(model, error["loc"][:-1])))
        for error in errors
        if error["type"] == "extra_forbidden"
    }
    return [error for error in errors if error["type"] != "missing" or error["loc"] not in meant]


def _problem(
    model: type[Section], document: Document, at: Sequence[str | int], error: ErrorDetails
) -> Iterator[Problem]:
    context = error.get("ctx", {})
    path = (*at, *error["loc"], *([context["at"]] if context.get("at") else []))
    if document.is_broken(path):
        return
    kind = error["type"]
    if kind == "extra_forbidden":
        yield document.problem(path, _unknown(str(error["loc"][-1]), model, error["loc"][:-1]), at_key=True)
    elif kind == "missing":
        yield document.problem(path[:-1], f"missing key `{error['loc'][-1]}`", at_key=True)
    else:
        at_key = bool(context.get("at")) or error["loc"][-1:] == ("[key]",)
        yield document.problem(path, _message(error, context), at_key=at_key)


def _unknown(key: str, model: type[Section], path: Sequence[str | int]) -> str:
    for one in _models_at(model, path):
        if key in one.elsewhere:
            return f"`{key}` {one.elsewhere[key]}"
    return f"unknown key `{sanitize(key)}`{nearest(key, _keys_at(model, path))}"


def near(word: str, known: Sequence[str]) -> list[str]:
    """The known word that was probably meant, if there is one."""
    begun = [one for one in known if len(word) >= 3 and one.startswith(word)]
    return begun[:1] or difflib.get_close_matches(word, known, n=1, cutoff=0.6)


def nearest(word: str, known: Sequence[str]) -> str:
    """`; did you mean …?` with the nearest of the known words, or all of them when none is near."""
    close = near(word, known)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f" (known: {', '.join(sorted(known))})" if known else ""


_EXPECTED: Final = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
"""What should have stood there, by the kind of error."""


def _message(error: ErrorDetails, context: Mapping[str, Any]) -> str:
    came = shown(error["input"])
    match error["type"]:
        case "mistake" | "file_absent":
            return str(context["message"])
        case "value_error":
            return str(context["error"])
        case "string_type":
            quotable = isinstance(error["input"], bool | int | float)
            return f"expected text, got {came}{': put it in quotes' if quotable else ''}"
        case "literal_error":
            words = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
            if isinstance(error["input"], int | float) and str(error["input"]) in words:
                return f"expected text, got {came}: put it in quotes"
            return f"expected one of {', '.join(words)}, got {came}{_near_word(error['input'], words)}"
        case "too_short" | "string_too_short":
            return "must not be empty"
        case kind if kind in _EXPECTED and not error["loc"] and isinstance(error["input"], str):
            # A file that is no settings file at all, most likely, and may be a secret.
            return f"expected {_EXPECTED[kind]}, got text"
        case kind if kind in _EXPECTED:
            return f"expected {_EXPECTED[kind]}, got {came}{_remedy(kind, error['input'])}"
        case _:
            return f"{error['msg'][:1].lower()}{error['msg'][1:]}, got {came}"


def _remedy(kind: str, value: Any) -> str:
    """How to turn the text into the intended value, if that is obvious."""
    if not isinstance(value, str):
        return ""
    if kind == "list_type":
        return f": write [{sanitize(value)}]"
    is_quoted = value in {"true", "false"} if kind == "bool_type" else value.isdecimal()
    return ": take the quotes off" if is_quoted and kind in {"bool_type", "int_type"} else ""


def _near_word(word: Any, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(word), known, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _keys_at(model: type[Section], path: Sequence[str | int]) -> list[str]:
    """The keys that are known at `path`."""
    return sorted({name for one in _models_at(model, path) for name in one.model_fields})


def _models_at(model: type[Section], path: Sequence[str | int]) -> set[type[Section]]:
    """What may stand at `path`; steps that are no field (list indexes, names) are passed over."""
    models = {model}
    for step in path:
        inner = {
            one for parent in models if step in parent.model_fields for one in _models(parent, str(step))
        }
        models = inner or models
    return models


def _models(parent: type[Section], field: str) -> set[type[Section]]:
    return set(_inside(parent.model_fields[field].annotation))


def _inside(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _inside(argument)
