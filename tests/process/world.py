"""A sidecar process in front of a recording upstream, and small questions to its health server."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sidecar.telemetry.families import FAMILIES
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.recorder import Recorder
from tests.support.sidecar import Document, Sidecar


@contextmanager
def sidecar(
    folder: Path, pki: Pki, key: SigningKey, service: Document | None = None, **options: Any
) -> Iterator[tuple[Sidecar, Recorder]]:
    """A running sidecar and its upstream."""
    with Recorder() as upstream:
        one = Sidecar(folder, pki, upstream.url, keys=[key], service=fast(service), **options)
        with one:
            yield one, upstream


def fast(service: Document | None) -> dict[str, Any]:
    """Looks at its files more often than by default, so that tests are quick."""
    return {"process": {"watch_interval": "100ms"}, **(service or {})}


def get(url: str, **headers: str) -> tuple[int, str]:
    """Status and body."""
    try:
        asked = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def checks(one: Sidecar, path: str = "/readyz") -> dict[str, tuple[bool, str]]:
    """Name → whether it holds, and what is said of it."""
    _, body = get(f"{one.health_url}{path}?verbose")
    return {check["name"]: (check["ok"], check["detail"]) for check in json.loads(body)["checks"]}


def figures(one: Sidecar) -> dict[tuple[str, ...], float]:
    """Every sample: its name and label values, in the order of the table of metrics → value."""
    _, text = get(f"{one.health_url}/metrics")
    return {
        (sample.name, *_ordered(sample.name, sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _ordered(name: str, labels: dict[str, str]) -> list[str]:
    known = FAMILIES.get(name)
    return [labels[label] for label in known.labels] if known else list(labels.values())


def generation(one: Sidecar) -> int:
    return int(figures(one)[("sidecar_configuration_generation",)])


def events(one: Sidecar, event: str) -> list[dict[str, Any]]:
    """The lines about `event`, as logged so far."""
    return [record for record in one.records() if record.get("event") == event]
