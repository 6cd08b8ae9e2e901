"""Peer configurations are templates with `@NAME@` places; every place must be filled."""

import re
from collections.abc import Mapping

_PLACE = re.compile(r"@([A-Z_]+)@")


class TemplateError(ValueError):
    """A place without a value."""


def fill(template: str, values: Mapping[str, str | int]) -> str:
    """The template's text with each `@NAME@` replaced by `values["NAME"]`.

    Raises `TemplateError` when a place has no value: a peer must not start on a half-written file.
    """
    unknown = sorted({name for name in _PLACE.findall(template) if name not in values})
    if unknown:
        raise TemplateError(f"no value for {', '.join(unknown)}")
    return _PLACE.sub(lambda place: str(values[place.group(1)]), template)
