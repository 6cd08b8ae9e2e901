"""YAML text → typed, frozen settings; everything that is wrong at once, each at its file, line and column.

`load` comes with a YAML reader and a validator, which weigh more than all else a serving process holds; they are
imported when `load` is first asked for.
"""

from typing import TYPE_CHECKING

from sidecar.settings.configuration import (
    BypassSettings,
    HardeningSettings,
    Loaded,
    ProtectedResourceSettings,
    ServerAddress,
    ServiceSettings,
)
from sidecar.settings.problem import Problem, SettingsError

if TYPE_CHECKING:
    from sidecar.settings.loading import load

__all__ = [
    "BypassSettings",
    "HardeningSettings",
    "Loaded",
    "Problem",
    "ProtectedResourceSettings",
    "ServerAddress",
    "ServiceSettings",
    "SettingsError",
    "load",
]


def __getattr__(name: str) -> object:
    if name == "load":
        from sidecar.settings.loading import load  # noqa: PLC0415 — see above

        return load
    raise AttributeError(name)
