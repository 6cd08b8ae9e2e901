"""YAML text → typed, frozen settings; everything that is wrong at once, each at its file, line and column."""

from sidecar.settings.loading import Loaded, load
from sidecar.settings.problem import Problem, SettingsError
from sidecar.settings.service import (
    BypassSettings,
    HardeningSettings,
    ProtectedResourceSettings,
    ServerAddress,
    ServiceSettings,
)

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
