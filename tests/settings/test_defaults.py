"""The defaults that descriptions name are the defaults that hold."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.issuer.configuration import (
    CircuitBreakerSettings,
    ClientSecretBasic,
    HttpSettings,
    IntrospectionSettings,
    RefreshSettings,
)
from sidecar.proxy.configuration import Limits, Timeouts, TlsSettings, UpstreamSettings
from sidecar.settings.configuration import BypassSettings, ServiceSettings
from sidecar.settings.issuer_sections import CircuitBreakerSection, Http, Introspection, Keys
from sidecar.settings.listener_sections import ListenerTlsSection
from sidecar.settings.operation_sections import BypassCheck, Logging, ServiceFile, Tracing
from sidecar.settings.scalars import parse_duration, parse_size
from sidecar.settings.schema import descriptions
from sidecar.settings.section import Section
from sidecar.settings.service_sections import LimitsSection, TimeoutsSection, Upstream
from sidecar.telemetry.configuration import LoggingSettings, TracingSettings
from tests.settings.conftest import ROOT

PAIRS: list[tuple[type[Section], Any]] = [
    (LimitsSection, Limits()),
    (TimeoutsSection, Timeouts()),
    (Upstream, UpstreamSettings("http", "h", 1)),
    (ListenerTlsSection, TlsSettings(ROOT, ROOT)),
    (Logging, LoggingSettings()),
    (Tracing, TracingSettings()),
    (BypassCheck, BypassSettings()),
    (ServiceFile, ServiceSettings()),
    (Keys, RefreshSettings()),
    (Http, HttpSettings()),
    (Introspection, IntrospectionSettings(ClientSecretBasic("c", ROOT))),
    (CircuitBreakerSection, CircuitBreakerSettings()),
]


def read(text: str) -> Any:
    """A default as a description writes it."""
    for parse in (parse_duration, parse_size, int, float):
        try:
            return parse(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text.strip('"'))


def named() -> Iterator[tuple[str, Any, Any]]:
    for section, defaults in PAIRS:
        for key, text in descriptions(section).items():
            found = re.search(r"Default: ([^\s;,]+?)[.,;]?(?:\s|$)", text)
            if found and hasattr(defaults, key):
                value = getattr(defaults, key)
                yield f"{section.__name__}.{key}", read(found[1]), getattr(value, "value", value)


@pytest.mark.parametrize(("key", "said", "holds"), list(named()), ids=str)
def test_the_default_that_is_described_holds(key: str, said: Any, holds: Any) -> None:
    assert said == holds or (holds is None and said in {"the", "from", "standard"}), key


def test_most_defaults_are_described() -> None:
    assert len(list(named())) > 45


def test_the_page_names_the_same_defaults() -> None:
    """`docs/configuration.md` has each default of limits, timeouts and upstream in its table."""
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z_]+)` \|.*\| `([^`]+)` \|$", page, re.MULTILINE))
    for defaults in (Limits(), Timeouts(), UpstreamSettings("http", "h", 1)):
        for key in set(rows) & set(dir(defaults)):
            assert read(rows[key]) == getattr(defaults, key), key
    assert len(rows) > 30
